package client

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// leaseWatch implements interrex.Watch[interrex.LeaseEvent].
type leaseWatch struct{ *Watch[*interrex.LeaseEvent] }

func newLeaseWatch(ctx context.Context, by Caller, r interrex.WatchRequest) (interrex.Watch[interrex.LeaseEvent], error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	w, err := NewWatch(ctx, by, WatchConfig[*interrex.LeaseEvent, *interrexv1.LeaseEvent]{
		Procedure: interrexv1.LeaseServiceWatchProcedure, Since: r.Since, Decode: leaseEvent,
		Request: func(since interrex.Revision) proto.Message {
			m := &interrexv1.WatchRequest{Namespace: r.Namespace, Prefix: r.Prefix, Since: uint64(since)}
			if r.Key != (interrex.Key{}) {
				m.Key = r.Key.String()
			}
			return m
		},
	})
	if err != nil {
		return nil, err
	}
	return leaseWatch{w}, nil
}

func leaseEvent(m *interrexv1.LeaseEvent) (*interrex.LeaseEvent, Position, error) {
	e, err := wire.FromLeaseEvent(m)
	return &e, Position{Revision: e.Revision, Present: e.Kind == interrex.LeasePresent}, err
}

// Next returns a copy of the event, for this reader only.
func (w leaseWatch) Next(ctx context.Context) (interrex.LeaseEvent, error) {
	e, err := w.Watch.Next(ctx)
	if err != nil {
		return interrex.LeaseEvent{}, err
	}
	mine := *e
	mine.Lease.Metadata = maps.Clone(e.Lease.Metadata)
	mine.Lease.Pins = slices.Clone(e.Lease.Pins)
	if e.Lease.Waiting != nil {
		n := *e.Lease.Waiting
		mine.Lease.Waiting = &n
	}
	return mine, nil
}
