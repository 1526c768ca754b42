package storage

import (
	"context"
	"errors"
	"math"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// errClosed is the error of a watch that its reader has closed.
var errClosed = errors.New("storage: watch closed")

// errStopped is the error of calls after the end of Run.
func errStopped() error {
	return interrex.Errorf(interrex.ErrUnavailable, "storage: the backend has stopped")
}

// localWatch is a Watch of the resources of this replica.
type localWatch struct {
	local   *local
	watcher *watch.Watcher
	present []*resource.Record // not yet returned
	marked  bool               // EndOfSnapshot follows them
	events  []state.Event      // not yet returned
	closing context.Context
	close   context.CancelFunc
}

// watch begins a watch: the existing resources, then the changes.
func (l *local) watch(s interrex.ResourceSelection, marked bool) (Watch, error) {
	w := &localWatch{local: l, marked: marked}
	var err error
	scope := interest.Scope{Table: uint16(machine.ResourceTable)}
	scope.Skip, scope.Prefix = resource.EventKeys(s)
	l.table.Read(func(v resource.ReadView) {
		w.present, _ = v.List(s, "", math.MaxInt)
		w.watcher, err = l.ring.Watch(l.revision, scope, func(e *state.Event) bool { return s.Matches(e.Value.(*resource.Record).ID) })
	})
	if err != nil {
		return nil, w.reason(err)
	}
	w.closing, w.close = context.WithCancel(context.Background())
	return w, nil
}

// Next implements Watch.
func (w *localWatch) Next(ctx context.Context) (interrex.ResourceEvent, error) {
	switch {
	case w.closing.Err() != nil:
		return interrex.ResourceEvent{}, errClosed
	case ctx.Err() != nil:
		return interrex.ResourceEvent{}, context.Cause(ctx)
	case len(w.present) > 0:
		r := w.present[0]
		w.present = w.present[1:]
		return interrex.ResourceEvent{Operation: interrex.ResourceUpsert, Resource: owned(r.Resource()), Revision: r.Revision}, nil
	case w.marked:
		w.marked = false
		return interrex.ResourceEvent{Operation: interrex.EndOfSnapshot, Revision: w.watcher.Position()}, nil
	}
	for len(w.events) == 0 {
		var err error
		if w.events, err = w.watcher.Next(ctx); err != nil {
			return interrex.ResourceEvent{}, w.reason(err)
		}
	}
	e := w.events[0]
	w.events = w.events[1:]
	return eventOf(e), nil
}

func eventOf(e state.Event) interrex.ResourceEvent {
	op := interrex.ResourceUpsert
	if e.Kind == interrex.ResourceDeleted {
		op = interrex.ResourceDelete
	}
	return interrex.ResourceEvent{Operation: op, Resource: owned(e.Value.(*resource.Record).Resource()), Revision: e.Revision}
}

// reason returns the error for why the ring has ended a watch. One that has fallen
// behind the ring must begin again, as after a restore.
func (w *localWatch) reason(err error) error {
	kind := interrex.KindOf(err)
	if kind != interrex.ErrWatchClosed && kind != interrex.ErrCompacted {
		return err
	}
	select {
	case <-w.local.stopped:
		return errStopped()
	default:
	}
	if w.closing != nil && w.closing.Err() != nil {
		return errClosed
	}
	return interrex.Errorf(interrex.ErrWatchClosed, "storage: watch again: %v", err).WithCause(err)
}

// Close implements Watch.
func (w *localWatch) Close() {
	w.close()
	w.watcher.Close()
}
