package api

import (
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// watchable is LeaseService.Watch.
func (l Leases) watchable(s *Server) (w watchable) {
	w.method, w.err = wire.MethodOf(interrexv1.LeaseServiceWatchProcedure)
	w.feed = func(c caller, body []byte) (feed, error) {
		m := &interrexv1.WatchRequest{}
		if err := proto.Unmarshal(body, m); err != nil {
			return feed{}, interrex.Errorf(interrex.KindInvalid, "body: it is not a WatchRequest: %v", err)
		}
		return l.feed(s, c, m)
	}
	return w
}

// feed reads a request for lease events.
func (l Leases) feed(s *Server, c caller, m *interrexv1.WatchRequest) (feed, error) {
	r, err := watchRequest(m)
	if err != nil {
		return feed{}, err
	}
	if err := (&Method{off: l.Off}).served(s, c); err != nil {
		return feed{}, err
	}
	st := s.config.State
	return feed{
		since:   r.Since,
		encode:  func(e *state.Event) ([]byte, error) { return l.encode(e, st) },
		match:   matcher(r),
		present: func(after string, most room) presentPage { return l.presentPage(r, st, after, most) },
		within:  keyWithin,
		complete: func(at interrex.Revision) ([]byte, error) {
			return leaseEvent(interrex.LeaseEvent{Kind: interrex.EndOfSnapshot, Revision: at})
		},
	}, nil
}

func watchRequest(m *interrexv1.WatchRequest) (interrex.WatchRequest, error) {
	var in wire.Reader
	r := interrex.WatchRequest{Namespace: m.GetNamespace(), Prefix: m.GetPrefix(), Since: interrex.Revision(m.GetSince())}
	if m.GetKey() != "" {
		r.Key = in.Key(m.GetKey())
	}
	in.Fail(r.Validate())
	return r, in.Err
}

// matcher reports whether a watch covers an event.
func matcher(r interrex.WatchRequest) func(*state.Event) bool {
	if r.Key == (interrex.Key{}) {
		return func(e *state.Event) bool { return matchesLease(r, e) }
	}
	key := r.Key.String()
	return func(e *state.Event) bool { return e.Table == state.LeaseTable && e.Key == key }
}

func matchesLease(r interrex.WatchRequest, e *state.Event) bool {
	if e.Table != state.LeaseTable {
		return false
	}
	if r.Namespace == "" && r.Prefix == "" {
		return true
	}
	namespace, name, _ := strings.Cut(e.Key, "/")
	return (r.Namespace == "" || namespace == r.Namespace) && strings.HasPrefix(name, r.Prefix)
}

// presentPage reads leases under the table's lock, and encodes them without it.
func (l Leases) presentPage(r interrex.WatchRequest, st *state.State, after string, most room) (p presentPage) {
	var from interrex.Key
	if after != "" {
		if from, p.err = interrex.ParseKey(after); p.err != nil {
			return p
		}
	}
	var items []lease.Record
	p.revision = l.still(st, func(v lease.ReadView) {
		if r.Key == (interrex.Key{}) {
			items, p.more = v.List(r.Namespace, r.Prefix, from, most.events)
		} else if item, held := v.Get(r.Key); held {
			items = append(items, item)
		}
	})
	bytes := 0
	for i, item := range items {
		var b []byte
		b, p.err = leaseEvent(interrex.LeaseEvent{Kind: interrex.LeasePresent, Lease: l.present(item, st), Revision: p.revision})
		if p.err != nil {
			return p
		}
		p.events, p.last = append(p.events, b), item.Key.String()
		if bytes += len(b); bytes >= most.bytes && i < len(items)-1 {
			p.more = true
			break
		}
	}
	return p
}

// encode makes the message of an event of the table of leases, with what this
// agent knows about the lease now.
func (l Leases) encode(e *state.Event, st *state.State) ([]byte, error) {
	out := interrex.LeaseEvent{Kind: e.Kind, Revision: e.Revision, Time: e.Wall}
	if r, is := e.Value.(lease.Record); is {
		out.Lease = l.present(r, st)
	}
	return leaseEvent(out)
}

func leaseEvent(e interrex.LeaseEvent) ([]byte, error) { return proto.Marshal(wire.LeaseEvent(e)) }

// keyWithin reports whether a is b or comes before it, in the order of keys.
func keyWithin(a, b string) bool {
	x, errX := interrex.ParseKey(a)
	y, errY := interrex.ParseKey(b)
	return errX == nil && errY == nil && x.Compare(y) <= 0
}
