package api

import (
	"context"
	"strings"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// Watch sends lease events until its caller goes, the server drains, or the
// watch has to be begun again.
func (s *Server) watch(ctx context.Context, r *connect.Request[interrexv1.WatchRequest], to *connect.ServerStream[interrexv1.WatchResponse]) error {
	var in wire.Reader
	request := interrex.WatchRequest{
		Namespace: in.Namespace(r.Msg.GetNamespace()), Prefix: r.Msg.GetPrefix(), Since: interrex.Revision(r.Msg.GetSince()),
	}
	if in.Err != nil {
		return wire.Error(in.Err)
	}
	if err := (&Method{off: s.config.Leases.Off}).served(s, callerOf(ctx)); err != nil {
		return wire.Error(err)
	}
	if err := s.calls.enter(); err != nil {
		return wire.Error(err)
	}
	defer s.calls.leave(1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.calls.ended, func() { cancel(drainingError()) })()

	send := s.sender(ctx)
	f := &feed{server: s, request: request}
	f.begin = func() error { return send(func() error { return to.Send(nil) }) }
	f.send = func(e interrex.LeaseEvent) error {
		return send(func() error { return to.Send(&interrexv1.WatchResponse{Event: wire.LeaseEvent(e)}) })
	}
	if err := f.run(ctx); err != nil && ctx.Err() == nil || interrex.KindOf(context.Cause(ctx)) != "" {
		return s.rpcError(orCause(ctx, err))
	}
	return nil
}

// orCause gives the reason for which the server itself has ended ctx, else err.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); interrex.KindOf(cause) != "" {
		return cause
	}
	return err
}

// feed is one watch.
type feed struct {
	server  *Server
	request interrex.WatchRequest
	begin   func() error // sends the headers: from then on nothing is missed
	send    func(interrex.LeaseEvent) error
	pages   []page
}

// page is a part of the snapshot that a watch begins with: every key up to and
// with last is sent as of revision.
type page struct {
	last     string
	revision interrex.Revision
}

// pageOfSnapshot is how many leases are read under the table's lock at once.
const pageOfSnapshot = 4096

func (f *feed) run(ctx context.Context) error {
	since := f.request.Since
	if since == 0 {
		since = f.server.config.State.Revision()
	}
	w, err := f.server.config.Ring.Watch(since, f.match)
	if err != nil {
		return err
	}
	defer w.Close()
	if err := f.begin(); err != nil {
		return err
	}
	if f.request.Since == 0 {
		if err := f.snapshot(ctx, since); err != nil {
			return err
		}
	}
	for {
		events, err := w.Next(ctx)
		if err != nil {
			return err
		}
		for i := range events {
			if f.known(&events[i]) {
				continue
			}
			if err := f.send(f.server.event(&events[i])); err != nil {
				return err
			}
		}
	}
}

// snapshot sends the present leases, a page at a time, so that Apply never
// waits for long. Every page may be newer than the last: what it holds of the
// events behind since is left out of them.
func (f *feed) snapshot(ctx context.Context, since interrex.Revision) error {
	var after interrex.Key
	for more := true; more; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var items []lease.Record
		revision := f.server.config.Leases.still(f.server.config.State, func(v lease.ReadView) {
			items, more = v.List(f.request.Namespace, f.request.Prefix, after, pageOfSnapshot)
		})
		for _, item := range items {
			e := interrex.LeaseEvent{Kind: interrex.LeasePresent, Lease: f.server.config.Leases.present(item, f.server.config.State), Revision: revision}
			if err := f.send(e); err != nil {
				return err
			}
		}
		p := page{revision: revision}
		if more {
			after = items[len(items)-1].Key
			p.last = after.String()
		}
		f.pages = append(f.pages, p)
	}
	return f.send(interrex.LeaseEvent{Kind: interrex.EndOfSnapshot, Revision: since})
}

// known reports whether the snapshot had shown the event's effect already.
func (f *feed) known(e *state.Event) bool {
	if len(f.pages) == 0 {
		return false
	}
	if e.Revision > f.pages[len(f.pages)-1].revision { // the last page is the newest
		f.pages = nil
		return false
	}
	for _, p := range f.pages {
		if p.last == "" || keyLess(e.Key, p.last) {
			return e.Revision <= p.revision
		}
	}
	return false
}

// keyLess reports whether a stands before b, or is it, in the order of keys.
func keyLess(a, b string) bool {
	x, errX := interrex.ParseKey(a)
	y, errY := interrex.ParseKey(b)
	return errX == nil && errY == nil && x.Compare(y) <= 0
}

// match reports whether the watch is about the event.
func (f *feed) match(e *state.Event) bool {
	if e.Table != state.LeaseTable {
		return false
	}
	namespace, name, _ := strings.Cut(e.Key, "/")
	return (f.request.Namespace == "" || namespace == f.request.Namespace) && strings.HasPrefix(name, f.request.Prefix)
}

// event gives an event as users see it.
func (s *Server) event(e *state.Event) interrex.LeaseEvent {
	out := interrex.LeaseEvent{Kind: e.Kind, Revision: e.Revision}
	if r, is := e.Value.(lease.Record); is {
		out.Lease = s.config.Leases.present(r, s.config.State)
	}
	return out
}
