package client

import (
	"context"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Changes returns the cluster's feed of changes: see Calls.Changes.
func (c *Client) Changes() interrex.Changes { return Through(c).Changes() }

// Changes returns the feed of the cluster. An append without a
// RequestID is retried until it is answered; one with a RequestID is one attempt,
// and the caller counts the attempts.
func (c Calls) Changes() interrex.Changes { return changes(c) }

type changes struct{ by Caller }

func (c changes) Append(ctx context.Context, r interrex.AppendRequest) (interrex.Answer[interrex.Change], error) {
	if len(r.Data) == 0 {
		return interrex.Answer[interrex.Change]{}, interrex.Errorf(interrex.ErrInvalid, "data: missing: give any JSON value, which may be null")
	}
	m, err := Call[interrexv1.ChangeServiceAppendRequest, interrexv1.ChangeServiceAppendResponse](ctx, c.by, interrexv1.ChangeServiceAppendProcedure,
		&interrexv1.ChangeServiceAppendRequest{Json: string(r.Data), Tags: r.Tags},
		Options{RequestID: r.RequestID, Attempt: r.Attempt, Fence: r.Fence})
	if err != nil {
		return interrex.Answer[interrex.Change]{}, err
	}
	made, err := changeFrom(m.GetChange())
	return interrex.Answer[interrex.Change]{Value: made, Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision())}, understood(err)
}

func (c changes) Get(ctx context.Context, r interrex.Revision) (interrex.Change, error) {
	m, err := Call[interrexv1.ChangeServiceGetRequest, interrexv1.ChangeServiceGetResponse](ctx, c.by, interrexv1.ChangeServiceGetProcedure,
		&interrexv1.ChangeServiceGetRequest{Revision: uint64(r)}, Options{})
	if err != nil {
		return interrex.Change{}, err
	}
	found, err := changeFrom(m.GetChange())
	return found, understood(err)
}

func (c changes) List(ctx context.Context, r interrex.ListChangesRequest) (interrex.ChangePage, error) {
	limit, err := count("limit", r.Limit)
	if err != nil {
		return interrex.ChangePage{}, err
	}
	q := &interrexv1.ChangeServiceListRequest{
		Since: uint64(r.Since), Limit: limit, Tags: r.Tags, Kinds: r.Kinds, Prefix: r.Prefix, MinRevision: uint64(r.MinRevision),
	}
	o := Options{}
	if r.Block != 0 {
		q.Block = durationpb.New(r.Block)
		o.limit = max(r.Block, 0) + attemptTimeout
	}
	m, err := Call[interrexv1.ChangeServiceListRequest, interrexv1.ChangeServiceListResponse](ctx, c.by, interrexv1.ChangeServiceListProcedure, q, o)
	if err != nil {
		return interrex.ChangePage{}, err
	}
	p := interrex.ChangePage{
		First: interrex.Revision(m.GetFirst()), Last: interrex.Revision(m.GetLast()),
		AtStart: m.GetAtStart(), AtEnd: m.GetAtEnd(), Revision: interrex.Revision(m.GetRevision()),
	}
	for _, item := range m.GetItems() {
		one, err := changeFrom(item)
		if err != nil {
			return interrex.ChangePage{}, understood(err)
		}
		p.Items = append(p.Items, one)
	}
	return p, nil
}

// Watch follows the feed, and resumes automatically: see interrex.Watch[interrex.Change].
func (c changes) Watch(ctx context.Context, r interrex.WatchChangesRequest) (interrex.Watch[interrex.Change], error) {
	w, err := NewWatch(ctx, c.by, WatchConfig[interrex.Change, *interrexv1.Change]{
		Procedure: interrexv1.ChangeServiceWatchProcedure, Since: r.Since,
		Request: func(since interrex.Revision) proto.Message {
			return &interrexv1.ChangeServiceWatchRequest{Since: uint64(since), Tags: r.Tags, Kinds: r.Kinds, Prefix: r.Prefix}
		},
		Decode: func(m *interrexv1.Change) (interrex.Change, Position, error) {
			e, err := changeFrom(m)
			return e, Position{Revision: e.Revision}, err
		},
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

func changeFrom(m *interrexv1.Change) (interrex.Change, error) {
	var in wire.Reader
	c := interrex.Change{
		Revision: interrex.Revision(m.GetRevision()), Kind: m.GetKind(), Key: m.GetKey(), Tags: m.GetTags(),
		Time: in.Time("time", m.GetTime()),
	}
	text, err := protojson.Marshal(m.GetData())
	in.Fail(err)
	if in.Err == nil {
		var plain json.RawMessage // protojson varies its spaces on purpose
		in.Fail(json.Unmarshal(text, &plain))
		c.Data, err = json.Marshal(plain)
		in.Fail(err)
	}
	return c, in.Err
}
