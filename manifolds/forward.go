package manifolds

import (
	"context"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/transport"
)

func (s *Set) startForwarder(u *unit) (worker.Worker, error) {
	now, t := need[clock.Clock](u, ClockName), need[*transport.Transport](u, TransportName)
	slot := need[offerer[*forward.Forwarder]](u, forwarderSlotName)
	if u.err != nil {
		return nil, u.err
	}
	f := forward.New(t, now, s.logger("forward"), s.Leadership.Watch().Next)
	u.free(f.Close)
	slot.offer(u, f)
	return nil, nil
}

// forwardBy returns a function that returns the forwarder to an agent.
func forwardBy(way handle[*forward.Forwarder]) func(context.Context, string) (operations.Forwarder, error) {
	return func(_ context.Context, id string) (operations.Forwarder, error) {
		f, is := way.now()
		if !is {
			return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot forward to %s: the transport is not running", id)
		}
		w, err := f.To(id)
		if err != nil {
			return nil, err
		}
		return w, nil
	}
}
