package api

import (
	"cmp"
	"encoding/base64"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/codec"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// MaxPage is the largest number of items in a page.
const MaxPage = 1000

// maxPageBytes is where a page ends early: a full one may be more than a client
// takes in one message.
const maxPageBytes = 1 << 20

// Leases is LeaseService.
type Leases struct {
	Table *lease.Table
	// Waiting counts the claims that wait for a key; false: this agent does not
	// know. Optional.
	Waiting func(interrex.Key) (int, bool)
}

// Service returns the methods.
func (l Leases) Service() Service {
	return Service{Setting: LeasesSetting, Data: l.data, Methods: []Method{
		Write(interrexv1.LeaseServiceClaimProcedure, state.LeaseTable, claim, l.claimed),
		Write(interrexv1.LeaseServiceExtendProcedure, state.LeaseTable, extend, l.extended),
		Write(interrexv1.LeaseServiceRevokeProcedure, state.LeaseTable, revoke, l.revoked),
		Write(interrexv1.LeaseServiceTransferProcedure, state.LeaseTable, transfer, l.transferred),
		Write(interrexv1.LeaseServicePinProcedure, state.LeaseTable, pin, l.pinned),
		Write(interrexv1.LeaseServiceUnpinProcedure, state.LeaseTable, unpin, l.unpinned),
		atOnce(Read(interrexv1.LeaseServiceGetProcedure, l.get)),
		Read(interrexv1.LeaseServiceListProcedure, l.list),
		Read(interrexv1.LeaseServiceHistoryProcedure, l.history),
	}, Watches: []WatchMethod{
		Watch[interrexv1.WatchResponse](interrexv1.LeaseServiceWatchProcedure, l.watch, l.event),
	}}
}

// data is the JSON of the lease of an event, as of the event: the same on every
// agent.
func (l Leases) data(e *state.Event, _ *state.State) ([]byte, error) {
	r, is := e.Value.(lease.Record)
	if !is {
		return []byte("null"), nil
	}
	return wire.AppendJSON(nil, wire.Lease(r.Lease(e.Now, e.Wall)))
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

func (l Leases) claimed(r state.Result, s *state.State) (*interrexv1.ClaimResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.ClaimResponse{Lease: held, Attempt: r.Attempt, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func extend(m *interrexv1.ExtendRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Extend{Key: in.Key(m.GetKey()), Token: interrex.Token(m.GetToken()), TTL: in.Positive("ttl", m.GetTtl())}, in.Err
}

func (l Leases) extended(r state.Result, s *state.State) (*interrexv1.ExtendResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.ExtendResponse{Lease: held, Revision: uint64(r.Revision)}, err
}

func revoke(m *interrexv1.RevokeRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Revoke{Key: in.Key(m.GetKey()), Token: interrex.Token(m.GetToken()), Force: m.GetForce()}, in.Err
}

func (l Leases) revoked(r state.Result, s *state.State) (*interrexv1.RevokeResponse, error) {
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

func (l Leases) transferred(r state.Result, s *state.State) (*interrexv1.TransferResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.TransferResponse{Lease: held, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func pin(m *interrexv1.PinRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Pin{Key: in.Key(m.GetKey()), Owner: m.GetOwner(), Reason: m.GetReason(), For: in.Positive("for", m.GetFor())}, in.Err
}

func (l Leases) pinned(r state.Result, s *state.State) (*interrexv1.PinResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.PinResponse{Lease: held, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func unpin(m *interrexv1.UnpinRequest) (state.Command, error) {
	var in wire.Reader
	return &lease.Unpin{Key: in.Key(m.GetKey()), Owner: m.GetOwner()}, in.Err
}

// unpinned leaves out a lease that ended with its last pin.
func (l Leases) unpinned(r state.Result, s *state.State) (*interrexv1.UnpinResponse, error) {
	held, err := l.after(r, s)
	return &interrexv1.UnpinResponse{Lease: held, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
}

func (l Leases) get(m *interrexv1.GetRequest, s *state.State) (*interrexv1.GetResponse, error) {
	var in wire.Reader
	k := in.Key(m.GetKey())
	if in.Err != nil {
		return nil, in.Err
	}
	var r lease.Record
	var held bool
	revision := l.still(s, func(v lease.ReadView) { r, held = v.Get(k) })
	if !held {
		return nil, interrex.Errorf(interrex.KindNotFound, "nobody holds %s at revision %d", k, revision)
	}
	return &interrexv1.GetResponse{Lease: wire.Lease(l.present(r, s)), Revision: uint64(revision)}, nil
}

func (l Leases) list(m *interrexv1.ListRequest, s *state.State) (*interrexv1.ListResponse, error) {
	var in wire.Reader
	namespace := in.Namespace(m.GetNamespace())
	if m.GetPageSize() > MaxPage {
		in.Fail(interrex.Errorf(interrex.KindInvalid, "page_size: %d is more than %d", m.GetPageSize(), MaxPage))
	}
	after, err := parsePageToken(m.GetPageToken())
	in.Fail(err)
	if in.Err != nil {
		return nil, in.Err
	}
	var items []lease.Record
	var more bool
	revision := l.still(s, func(v lease.ReadView) {
		items, more = v.List(namespace, m.GetPrefix(), after, cmp.Or(int(m.GetPageSize()), MaxPage))
	})
	page := &interrexv1.ListResponse{Revision: uint64(revision)}
	bytes := 0
	for i, item := range items {
		held := wire.Lease(l.present(item, s))
		page.Items = append(page.Items, held)
		if bytes += proto.Size(held); bytes >= maxPageBytes && i < len(items)-1 {
			more = true
			break
		}
	}
	if more {
		page.NextPageToken = pageToken(items[len(page.Items)-1].Key)
	}
	return page, nil
}

func (l Leases) history(m *interrexv1.HistoryRequest, s *state.State) (*interrexv1.HistoryResponse, error) {
	var in wire.Reader
	k := in.Key(m.GetKey())
	if in.Err != nil {
		return nil, in.Err
	}
	var past []interrex.PastLease
	revision := l.still(s, func(v lease.ReadView) { past = v.History(k) })
	out := &interrexv1.HistoryResponse{Revision: uint64(revision)}
	for _, p := range past {
		out.Items = append(out.Items, wire.PastLease(p))
	}
	return out, nil
}

func replyOf(r state.Result) (*lease.Reply, error) {
	reply, is := r.Reply.(*lease.Reply)
	if !is {
		return nil, interrex.Errorf(interrex.KindOutcomeUnknown, "cannot read the reply: it is a %T", r.Reply)
	}
	return reply, nil
}

// after returns the lease as an operation has left it; nil when it has ended.
func (l Leases) after(r state.Result, s *state.State) (*interrexv1.Lease, error) {
	reply, err := replyOf(r)
	if err != nil || reply.Ended {
		return nil, err
	}
	return wire.Lease(l.present(reply.Lease, s)), nil
}

// present is a lease as users see it, with what this agent knows about it.
func (l Leases) present(r lease.Record, s *state.State) interrex.Lease {
	held := r.Lease(s.Estimate())
	if l.Waiting != nil {
		if n, known := l.Waiting(r.Key); known {
			held.Waiting = &n
		}
	}
	return held
}

// still calls fn while the table cannot change, and returns the table's
// revision.
func (l Leases) still(s *state.State, fn func(lease.ReadView)) (revision interrex.Revision) {
	l.Table.Read(func(v lease.ReadView) {
		fn(v)
		revision = s.Revision()
	})
	return revision
}

// A page token is the last key of the page before it; nobody outside may rely
// on that.
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
	return interrex.Errorf(interrex.KindInvalid, "page_token: %q is not of this list: give back the next_page_token of the page before", token)
}
