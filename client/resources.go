package client

import (
	"context"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Resources returns the cluster's resources: see Calls.Resources.
func (c *Client) Resources() interrex.Resources { return Through(c).Resources() }

// Resources returns the resources of the cluster. A request
// without a RequestID is retried until it is answered; one with a RequestID is
// one attempt, and the caller counts the attempts.
func (c Calls) Resources() interrex.Resources {
	return resources{by: c.by, do: c.do}
}

type resources struct {
	by Caller
	do doer
}

func (r resources) Read(ctx context.Context, id interrex.ResourceID, o interrex.ReadOptions) (interrex.Resource, interrex.Revision, error) {
	m := interrexv1.ResourceServiceReadResponse{Resource: wire.BlankResource()}
	err := callInto(ctx, r.do, interrexv1.ResourceServiceReadProcedure, &interrexv1.ResourceServiceReadRequest{
		Id: wire.ResourceID(id), Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision),
	}, &m, Options{})
	if err != nil {
		return interrex.Resource{}, 0, err
	}
	found, err := wire.FromResource(m.GetResource())
	return found, interrex.Revision(m.GetRevision()), understood(err)
}

func (r resources) Write(ctx context.Context, q interrex.WriteResourceRequest) (interrex.Answer[interrex.Resource], error) {
	o := under(q.RequestID, q.Attempt)
	o.Fence = q.Fence
	m, err := ask[interrexv1.ResourceServiceWriteResponse](ctx, r.do, interrexv1.ResourceServiceWriteProcedure, &interrexv1.ResourceServiceWriteRequest{
		Resource: wire.Resource(q.Resource), Strict: q.Strict, Overwrite: q.Overwrite,
	}, o)
	if err != nil {
		return interrex.Answer[interrex.Resource]{}, err
	}
	written, err := wire.FromResource(m.GetResource())
	return interrex.Answer[interrex.Resource]{Value: written, Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}, understood(err)
}

func (r resources) Delete(ctx context.Context, q interrex.DeleteResourceRequest) (interrex.Answer[struct{}], error) {
	o := under(q.RequestID, q.Attempt)
	o.Fence = q.Fence
	m, err := ask[interrexv1.ResourceServiceDeleteResponse](ctx, r.do, interrexv1.ResourceServiceDeleteProcedure, &interrexv1.ResourceServiceDeleteRequest{
		Id: wire.ResourceID(q.ID), Version: q.Version, Strict: q.Strict,
	}, o)
	return interrex.Answer[struct{}]{Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}, err
}

func (r resources) Clear(ctx context.Context, q interrex.ClearResourcesRequest) (interrex.Answer[int], error) {
	o := under(q.RequestID, q.Attempt)
	o.Fence = q.Fence
	m, err := ask[interrexv1.ResourceServiceClearResponse](ctx, r.do, interrexv1.ResourceServiceClearProcedure, &interrexv1.ResourceServiceClearRequest{
		Type: wire.ResourceType(q.Type), Tenancy: wire.Tenancy(q.Tenancy), NamePrefix: q.NamePrefix,
	}, o)
	return interrex.Answer[int]{Value: int(m.GetDeleted()), Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}, err
}

func (r resources) List(ctx context.Context, q interrex.ListResourcesRequest) (interrex.Page[interrex.Resource], error) {
	size, err := count("page_size", q.PageSize)
	if err != nil {
		return interrex.Page[interrex.Resource]{}, err
	}
	m, err := ask[interrexv1.ResourceServiceListResponse](ctx, r.do, interrexv1.ResourceServiceListProcedure, &interrexv1.ResourceServiceListRequest{
		Type: wire.ResourceType(q.Type), Tenancy: wire.Tenancy(q.Tenancy), NamePrefix: q.NamePrefix,
		Consistency: wire.Consistency(q.Consistency), MinRevision: uint64(q.MinRevision),
		PageSize: size, PageToken: q.PageToken,
	}, Options{})
	return resourcePage(m, err)
}

func (r resources) ListByOwner(ctx context.Context, q interrex.ListOwnedRequest) (interrex.Page[interrex.Resource], error) {
	size, err := count("page_size", q.PageSize)
	if err != nil {
		return interrex.Page[interrex.Resource]{}, err
	}
	m, err := ask[interrexv1.ResourceServiceListByOwnerResponse](ctx, r.do, interrexv1.ResourceServiceListByOwnerProcedure, &interrexv1.ResourceServiceListByOwnerRequest{
		Owner: wire.ResourceID(q.Owner), Consistency: wire.Consistency(q.Consistency), MinRevision: uint64(q.MinRevision),
		PageSize: size, PageToken: q.PageToken,
	}, Options{})
	return resourcePage(m, err)
}

// resourcePage converts a page.
func resourcePage(m interface {
	GetItems() []*interrexv1.Resource
	GetNextPageToken() string
	GetRevision() uint64
}, err error) (interrex.Page[interrex.Resource], error) {
	if err != nil {
		return interrex.Page[interrex.Resource]{}, err
	}
	p := interrex.Page[interrex.Resource]{NextPageToken: m.GetNextPageToken(), Revision: interrex.Revision(m.GetRevision())}
	for _, item := range m.GetItems() {
		found, err := wire.FromResource(item)
		if err != nil {
			return interrex.Page[interrex.Resource]{}, understood(err)
		}
		p.Items = append(p.Items, found)
	}
	return p, nil
}

// NewDocument returns the data of a plain document: a google.protobuf.Struct. Its
// values are those of encoding/json: nil, bool, numbers, string, []any and
// map[string]any. The error is of kind ErrInvalid.
func NewDocument(fields map[string]any) (interrex.ResourceData, error) {
	s, err := structpb.NewStruct(fields)
	if err != nil {
		return interrex.ResourceData{}, interrex.Errorf(interrex.ErrInvalid, "data: %v", err)
	}
	return wire.Document(s)
}

// Document decodes the data of a plain document; false if it is of another type.
func Document(d interrex.ResourceData) (fields map[string]any, is bool) {
	s, is := wire.FromDocument(d)
	return s.AsMap(), is
}
