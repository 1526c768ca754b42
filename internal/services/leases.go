package services

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// Leases implements LeaseService.
type Leases struct {
	Table *lease.Table
	// Feed has what has happened to the leases.
	Feed *change.Table
	// Waiting returns the number of claims that wait for a key; false if this agent
	// does not know. Optional.
	Waiting func(interrex.Key) (int, bool)
}

// Service returns the methods.
func (l Leases) Service() method.Service {
	return method.Service{Setting: method.LeasesSetting, Data: l.data, Holder: l.holder, Methods: []method.Method{
		method.Write(interrexv1.LeaseServiceClaimProcedure, machine.LeaseTable, claim, l.claimed),
		method.Write(interrexv1.LeaseServiceExtendProcedure, machine.LeaseTable, extend, l.extended),
		method.Write(interrexv1.LeaseServiceRevokeProcedure, machine.LeaseTable, revoke, l.revoked),
		method.Write(interrexv1.LeaseServiceTransferProcedure, machine.LeaseTable, transfer, l.transferred),
		method.Write(interrexv1.LeaseServicePinProcedure, machine.LeaseTable, pin, l.pinned),
		method.Write(interrexv1.LeaseServiceUnpinProcedure, machine.LeaseTable, unpin, l.unpinned),
		method.AtOnce(method.ReadState(interrexv1.LeaseServiceGetProcedure, l.get)),
		method.ReadState(interrexv1.LeaseServiceListProcedure, l.list),
		method.Read(interrexv1.LeaseServiceHistoryProcedure, l.history),
		method.ReadState(interrexv1.LeaseServiceDiffProcedure, l.diff),
	}, Watches: []method.Watch{
		method.NewWatch(api.Watch[interrexv1.WatchResponse](interrexv1.LeaseServiceWatchProcedure, l.watch, l.event)),
	}}
}

// data returns the JSON of the lease of an event, as of the event: it is the same on
// every agent.
func (l Leases) data(e *state.Event, _ state.State) ([]byte, error) {
	r, is := e.Value.(lease.Record)
	if !is {
		return []byte("null"), nil
	}
	return wire.AppendJSON(nil, wire.Lease(r.Lease(e.Now, e.Wall)))
}

// holder implements method.Service: a token has one holder for good, and is the revision
// at which it was granted.
func (l Leases) holder(c state.Command, s state.State) (string, error) {
	shows, is := c.(machine.Tokened)
	if !is {
		return "", nil
	}
	k, token := shows.Shows()
	var r lease.Record
	revision := l.locked(s, func(v lease.ReadView) { r, _ = v.Get(k) })
	switch {
	case token == 0:
	case r.Token == token:
		return r.Holder, nil
	case interrex.Revision(token) > revision:
		err := interrex.Errorf(interrex.ErrUnavailable, "this agent is at revision %d, and does not know who holds %s under token %d: try again, or give the token of the grant", revision, k, token)
		err.RetryAfter = 50 * time.Millisecond
		return "", err
	}
	return "", nil
}

func claim(m *interrexv1.ClaimRequest) (state.Command, error) {
	var in wire.Reader
	c := &lease.Claim{Key: in.Key(m.GetKey()), Holder: m.GetHolder(), TTL: in.Positive("ttl", m.GetTtl()), Takeover: m.GetTakeover()}
	if c.TTL == 0 {
		c.TTL = interrex.DefaultTTL
	}
	if in.Err == nil {
		c.Metadata, in.Err = codec.NewMetadata(m.GetMetadata())
	}
	return c, in.Err
}

func (l Leases) claimed(r state.Result, s state.State) (*interrexv1.ClaimResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.ClaimResponse{Lease: held, Attempt: r.Attempt, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func extend(m *interrexv1.ExtendRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Extend{Key: in.Key(m.GetKey()), Token: interrex.Token(m.GetToken()), TTL: in.Positive("ttl", m.GetTtl())}, in.Err
}

func (l Leases) extended(r state.Result, s state.State) (*interrexv1.ExtendResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.ExtendResponse{Lease: held, Revision: uint64(r.Revision)}, err
}

func revoke(m *interrexv1.RevokeRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Revoke{Key: in.Key(m.GetKey()), Token: interrex.Token(m.GetToken()), Force: m.GetForce()}, in.Err
}

func (l Leases) revoked(r state.Result, s state.State) (*interrexv1.RevokeResponse, error) {
	reply, err := replyOf(r)
	m := &interrexv1.RevokeResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}
	if err == nil && reply.HolderUntil != 0 {
		now, wall := s.Estimate()
		m.HolderUntil = wire.Timestamp(wall.Add(reply.HolderUntil.Sub(now)).UTC())
	}
	return m, err
}

func transfer(m *interrexv1.TransferRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Transfer{Key: in.Key(m.GetKey()), Token: interrex.Token(m.GetToken()), To: m.GetTo(), TTL: in.Positive("ttl", m.GetTtl())}, in.Err
}

func (l Leases) transferred(r state.Result, s state.State) (*interrexv1.TransferResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.TransferResponse{Lease: held, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func pin(m *interrexv1.PinRequest) (state.Command, error) {
	var in wire.Reader
	c := &lease.Pin{Key: in.Key(m.GetKey()), Owner: m.GetOwner(), Reason: m.GetReason(), For: in.Positive("for", m.GetFor())}
	in.Fail(validation.Plain("reason", c.Reason))
	return c, in.Err
}

func (l Leases) pinned(r state.Result, s state.State) (*interrexv1.PinResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.PinResponse{Lease: held, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func unpin(m *interrexv1.UnpinRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Unpin{Key: in.Key(m.GetKey()), Owner: m.GetOwner()}, in.Err
}

// unpinned returns the response to an unpin, without the lease if it ended with its
// last pin.
func (l Leases) unpinned(r state.Result, s state.State) (*interrexv1.UnpinResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.UnpinResponse{Lease: held, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func (l Leases) get(m *interrexv1.GetRequest, s *machine.State) (*interrexv1.GetResponse, error) {
	var in wire.Reader
	k := in.Key(m.GetKey())
	if in.Err != nil {
		return nil, in.Err
	}
	if method.IsPast(m) {
		return l.getAt(m, k, s)
	}
	var r lease.Record
	var held bool
	revision := l.locked(s, func(v lease.ReadView) { r, held = v.Get(k) })
	if !held {
		return nil, interrex.Errorf(interrex.ErrNotFound, "nobody holds %s at revision %d", k, revision)
	}
	return &interrexv1.GetResponse{Lease: wire.Lease(l.present(r, s)), Revision: uint64(revision)}, nil
}

func (l Leases) list(m *interrexv1.ListRequest, s *machine.State) (*interrexv1.ListResponse, error) {
	scope, limit, err := requested(m)
	if err != nil {
		return nil, err
	}
	if method.IsPast(m) {
		history := l.Feed.History()
		at, err := moment(m, history, s)
		if err != nil {
			return nil, err
		}
		return l.listAt(at, history, scope, limit, s)
	}
	var items []lease.Record
	var more bool
	revision := l.locked(s, func(v lease.ReadView) { items, more = v.List(scope, limit) })
	page := &interrexv1.ListResponse{Revision: uint64(revision)}
	now, wall := s.Estimate()
	present := func(r lease.Record) *interrexv1.Lease { return wire.Lease(l.presentAt(r, now, wall)) }
	if page.Items, more = pageOf(items, more, present); more {
		page.NextPageToken = pageToken(items[len(page.Items)-1].Key)
	}
	return page, nil
}

func (l Leases) history(m *interrexv1.HistoryRequest, s state.State) (*interrexv1.HistoryResponse, error) {
	var in wire.Reader
	k := in.Key(m.GetKey())
	if in.Err != nil {
		return nil, in.Err
	}
	var past []interrex.PastLease
	revision := l.locked(s, func(v lease.ReadView) { past = v.History(k) })
	out := &interrexv1.HistoryResponse{Revision: uint64(revision)}
	for _, p := range past {
		out.Items = append(out.Items, wire.PastLease(p))
	}
	return out, nil
}

func replyOf(r state.Result) (*lease.Reply, error) {
	reply, is := r.Reply.(*lease.Reply)
	if !is {
		return nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	return reply, nil
}

// after returns the lease as an operation left it; nil if it has ended.
func (l Leases) after(r state.Result, s state.State) (*interrexv1.Lease, error) {
	reply, err := replyOf(r)
	if err != nil || reply.Ended {
		return nil, err
	}
	return wire.Lease(l.present(reply.Lease, s)), nil
}

// present returns a lease for users, with what this agent knows about it.
func (l Leases) present(r lease.Record, s state.State) interrex.Lease {
	now, wall := s.Estimate()
	return l.presentAt(r, now, wall)
}

func (l Leases) presentAt(r lease.Record, now state.Time, wall time.Time) interrex.Lease {
	held := r.Lease(now, wall)
	if l.Waiting != nil {
		if n, known := l.Waiting(r.Key); known {
			held.Waiting = &n
		}
	}
	return held
}

// locked calls fn while the table cannot change, and returns the table's revision.
func (l Leases) locked(s state.State, fn func(lease.ReadView)) (revision interrex.Revision) {
	l.Table.Read(func(v lease.ReadView) {
		fn(v)
		revision = s.Revision()
	})
	return revision
}

// pageToken returns the token of the page after a key. Its format is not part of the
// API.
func pageToken(last interrex.Key) string {
	return base64.RawURLEncoding.EncodeToString([]byte(last.String()))
}

func parsePageToken(token string) (interrex.Key, error) {
	if token == "" {
		return interrex.Key{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		var k interrex.Key
		if k, err = interrex.ParseKey(string(b)); err == nil {
			return k, nil
		}
	}
	return interrex.Key{}, errPageToken(token)
}

func errPageToken(token string) error {
	return interrex.Errorf(interrex.ErrInvalid, "page_token: %q is not a token of this list: give the next_page_token of the previous page", token)
}

// watch returns the feed of a request for lease events.
func (l Leases) watch(m *interrexv1.WatchRequest, s state.State) (api.Feed[*interrexv1.LeaseEvent], error) {
	r, err := watchRequest(m)
	if err != nil {
		return api.Feed[*interrexv1.LeaseEvent]{}, err
	}
	return api.Feed[*interrexv1.LeaseEvent]{
		Since: r.Since,
		Match: matcher(r),
		Scope: scopeOf(r),
		Snapshot: &api.Snapshot[*interrexv1.LeaseEvent]{
			Rows:    func(after string, most int) api.Rows[*interrexv1.LeaseEvent] { return l.rows(r, s, after, most) },
			Compare: compareKeys,
			End: func(at interrex.Revision) *interrexv1.LeaseEvent {
				return wire.LeaseEvent(interrex.LeaseEvent{Kind: interrex.EndOfSnapshot, Revision: at})
			},
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

// scopeOf returns what the events that a watch covers have in common.
func scopeOf(r interrex.WatchRequest) api.Scope {
	switch {
	case r.Key != (interrex.Key{}):
		return api.Scope{Table: machine.LeaseTable, Key: r.Key.String()}
	case r.Namespace != "":
		return api.Scope{Table: machine.LeaseTable, Prefix: interrex.Key{Namespace: r.Namespace, Name: r.Prefix}.String()}
	}
	return api.Scope{Table: machine.LeaseTable, Skip: 1, Prefix: r.Prefix}
}

// matcher returns a function that reports whether a watch covers an event.
func matcher(r interrex.WatchRequest) func(*state.Event) bool {
	if r.Key == (interrex.Key{}) {
		return func(e *state.Event) bool { return matchesLease(r, e) }
	}
	key := r.Key.String()
	return func(e *state.Event) bool { return e.Table == machine.LeaseTable && e.Key == key }
}

func matchesLease(r interrex.WatchRequest, e *state.Event) bool {
	if e.Table != machine.LeaseTable {
		return false
	}
	if r.Namespace == "" && r.Prefix == "" {
		return true
	}
	namespace, name, _ := strings.Cut(e.Key, "/")
	return (r.Namespace == "" || namespace == r.Namespace) && strings.HasPrefix(name, r.Prefix)
}

// rows reads leases under the table's lock, and makes their events outside it.
func (l Leases) rows(r interrex.WatchRequest, s state.State, after string, most int) (out api.Rows[*interrexv1.LeaseEvent]) {
	from, _ := interrex.ParseKey(after) // the zero key if after is empty: from the start
	var items []lease.Record
	out.Revision = l.locked(s, func(v lease.ReadView) {
		if r.Key == (interrex.Key{}) {
			items, out.More = v.List(lease.Scope{Namespace: r.Namespace, Prefix: r.Prefix, After: from}, most)
		} else if item, held := v.Get(r.Key); held {
			items = append(items, item)
		}
	})
	out.All = func(yield func(string, *interrexv1.LeaseEvent) bool) {
		for _, item := range items {
			if !yield(item.Key.String(), wire.LeaseEvent(interrex.LeaseEvent{Kind: interrex.LeasePresent, Lease: l.present(item, s), Revision: out.Revision})) {
				return
			}
		}
	}
	return out
}

// event returns the message of an event of the table of leases, with what this agent
// knows about the lease now.
func (l Leases) event(e *state.Event, s state.State) (*interrexv1.LeaseEvent, error) {
	out := interrex.LeaseEvent{Kind: e.Kind, Revision: e.Revision, Time: e.Wall}
	if r, is := e.Value.(lease.Record); is {
		out.Lease = l.present(r, s)
	}
	return wire.LeaseEvent(out), nil
}

// compareKeys orders keys as the table does.
func compareKeys(a, b string) int {
	x, _ := interrex.ParseKey(a)
	y, _ := interrex.ParseKey(b)
	return x.Compare(y)
}
