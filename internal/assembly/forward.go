package assembly

import (
	"context"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/operations"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/unit"
)

func (s *Set) startForwarder(u *unit.Unit) (worker.Worker, error) {
	now, t := unit.Need[clock.Clock](u, ClockName), unit.Need[*peering.Transport](u, TransportName)
	slot := unit.Need[unit.Offerer[*forward.Forwarder]](u, forwarderSlotName)
	if u.Err != nil {
		return nil, u.Err
	}
	f := forward.New(t, now, s.logger("forward"), s.Leadership.Watch().Next)
	u.Free(f.Close)
	slot.Offer(u, f)
	return nil, nil
}

// forwardBy returns a function that returns the forwarder to an agent.
func forwardBy(way unit.Handle[*forward.Forwarder]) func(context.Context, string) (operations.Forwarder, error) {
	return func(_ context.Context, id string) (operations.Forwarder, error) {
		f, is := way.Now()
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
