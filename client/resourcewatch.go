package client

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Watch yields resource events, and resumes automatically: see the Watch of
// leases.
func (r resources) Watch(ctx context.Context, q interrex.WatchResourcesRequest) (interrex.Watch[interrex.ResourceEvent], error) {
	q.Tenancy = q.Tenancy.WithDefaults()
	if err := q.Validate(); err != nil {
		return nil, err
	}
	w, err := NewWatch(ctx, r.by, WatchConfig[interrex.ResourceEvent, *interrexv1.ResourceEvent]{
		Procedure: interrexv1.ResourceServiceWatchProcedure, Since: q.Since, Decode: resourceEvent,
		Request: func(since interrex.Revision) proto.Message {
			return &interrexv1.ResourceServiceWatchRequest{
				Type: wire.ResourceType(q.Type), Tenancy: wire.Tenancy(q.Tenancy), NamePrefix: q.NamePrefix, Since: uint64(since),
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// resourceEvent converts an event. A row that was present at the beginning has no
// time.
func resourceEvent(m *interrexv1.ResourceEvent) (interrex.ResourceEvent, Position, error) {
	e, err := wire.FromResourceEvent(m)
	return e, Position{Revision: e.Revision, Present: e.Operation == interrex.ResourceUpsert && m.GetTime() == nil}, err
}
