package client

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/validation"
	"github.com/interrex/interrex/internal/wire"
)

// Leases returns the cluster's leases: see Calls.Leases.
func (c *Client) Leases() interrex.Leases { return Through(c).Leases() }

// Leases returns the leases of the cluster. A request without a
// RequestID is retried until it is answered; one with a RequestID is one attempt,
// and the caller counts the attempts.
//
// The grant of a claim that waited is as old as the attempt it names: to hold the
// lease call Hold, or rely on it only after the response of an Extend.
func (c Calls) Leases() interrex.Leases {
	return leases{by: c.by, leaseCalls: c.do}
}

type leases struct {
	by Caller
	leaseCalls
}

func (l leases) Hold(ctx context.Context, key string, o interrex.HoldOptions) (interrex.Held, error) {
	c, err := clientOf(ctx, l.by)
	if err != nil {
		return nil, err
	}
	return c.keeper.Hold(ctx, key, o)
}

func (l leases) Run(ctx context.Context, key string, o interrex.HoldOptions, fn func(ctx context.Context, held interrex.Held) error) error {
	c, err := clientOf(ctx, l.by)
	if err != nil {
		return err
	}
	return c.keeper.Run(ctx, key, o, fn)
}

// Claim fills in the holder. A claim that waits is retried automatically.
func (l leases) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	c, err := clientOf(ctx, l.by)
	if err != nil {
		return interrex.LeaseAnswer{}, err
	}
	if r.Holder == "" {
		r.Holder = c.config.Holder
	}
	if err := validation.Wait(r.Wait); err != nil {
		return interrex.LeaseAnswer{}, err
	}
	switch {
	case r.Wait > 0 && r.RequestID != "":
		return leaseCalls(c.single).Claim(ctx, r)
	case r.Wait > 0:
		return c.keeper.Claim(ctx, r)
	}
	return l.leaseCalls.Claim(ctx, r)
}

// Watch yields lease events, and resumes by itself after the last one when the
// connection or the agent is lost; ctx ends it. When the events after the last
// one are gone it ends with ErrCompacted, and when it is lost amid the present
// leases of its beginning with ErrWatchClosed: then start a new watch, from 0.
// It ends with ErrOtherCluster when every agent of Config.Addresses belongs to
// another cluster than before: then make a new client.
func (l leases) Watch(ctx context.Context, r interrex.WatchRequest) (interrex.Watch[interrex.LeaseEvent], error) {
	return newLeaseWatch(ctx, l.by, r)
}

// leaseCalls implements the unary methods of LeaseService over any doer.
type leaseCalls doer

var _ hold.Backend = leaseCalls(nil)

// under returns the options for a recorded request.
func under(id string, attempt uint32) Options { return Options{RequestID: id, Attempt: attempt} }

func (do leaseCalls) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	o := under(r.RequestID, r.Attempt)
	o.Fence, o.wait = r.Fence, r.Wait
	if r.Wait > 0 { // it is retried for as long as it may wait
		o.limit, o.asksAgain = r.Wait+attemptTimeout, r.RequestID != ""
	}
	m, err := ask[interrexv1.ClaimResponse](ctx, doer(do), interrexv1.LeaseServiceClaimProcedure, &interrexv1.ClaimRequest{
		Key: r.Key.String(), Holder: r.Holder, Ttl: wire.Optional(r.TTL), Takeover: r.Takeover, Metadata: r.Metadata,
	}, o)
	a, err := leaseAnswer(m, err)
	a.Attempt = m.GetAttempt()
	return a, err
}

func (do leaseCalls) Extend(ctx context.Context, r interrex.ExtendRequest) (interrex.LeaseAnswer, error) {
	o := Options{}
	if r.TTL > 0 { // leaves time for a second attempt elsewhere before the ttl ends
		o.limit = min(attemptTimeout, r.TTL/2)
	}
	m, err := ask[interrexv1.ExtendResponse](ctx, doer(do), interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{
		Key: r.Key.String(), Token: uint64(r.Token), Ttl: wire.Optional(r.TTL),
	}, o)
	return leaseAnswer(m, err)
}

func (do leaseCalls) Revoke(ctx context.Context, r interrex.RevokeRequest) (interrex.RevokeAnswer, error) {
	m, err := ask[interrexv1.RevokeResponse](ctx, doer(do), interrexv1.LeaseServiceRevokeProcedure, &interrexv1.RevokeRequest{
		Key: r.Key.String(), Token: uint64(r.Token), Force: r.Force,
	}, under(r.RequestID, r.Attempt))
	if err != nil {
		return interrex.RevokeAnswer{}, err
	}
	var in wire.Reader
	a := interrex.RevokeAnswer{
		HolderUntil: in.Time("holder_until", m.GetHolderUntil()), Replayed: m.GetReplayed(), Revision: interrex.Revision(m.GetRevision()),
	}
	return a, understood(in.Err)
}

func (do leaseCalls) Transfer(ctx context.Context, r interrex.TransferRequest) (interrex.LeaseAnswer, error) {
	m, err := ask[interrexv1.TransferResponse](ctx, doer(do), interrexv1.LeaseServiceTransferProcedure, &interrexv1.TransferRequest{
		Key: r.Key.String(), Token: uint64(r.Token), To: r.To, Ttl: wire.Optional(r.TTL),
	}, under(r.RequestID, r.Attempt))
	return leaseAnswer(m, err)
}

func (do leaseCalls) Pin(ctx context.Context, r interrex.PinRequest) (interrex.LeaseAnswer, error) {
	m, err := ask[interrexv1.PinResponse](ctx, doer(do), interrexv1.LeaseServicePinProcedure, &interrexv1.PinRequest{
		Key: r.Key.String(), Owner: r.Owner, Reason: r.Reason, For: wire.Optional(r.For),
	}, under(r.RequestID, r.Attempt))
	return leaseAnswer(m, err)
}

func (do leaseCalls) Unpin(ctx context.Context, r interrex.PinRequest) (interrex.LeaseAnswer, error) {
	m, err := ask[interrexv1.UnpinResponse](ctx, doer(do), interrexv1.LeaseServiceUnpinProcedure, &interrexv1.UnpinRequest{
		Key: r.Key.String(), Owner: r.Owner,
	}, under(r.RequestID, r.Attempt))
	return leaseAnswer(m, err)
}

func (do leaseCalls) Get(ctx context.Context, key interrex.Key, o interrex.ReadOptions) (interrex.Lease, interrex.Revision, error) {
	return do.get(ctx, interrex.ListRequest{Key: key, ReadOptions: o})
}

// get returns the lease of the request's key.
func (do leaseCalls) get(ctx context.Context, r interrex.ListRequest) (interrex.Lease, interrex.Revision, error) {
	m, err := ask[interrexv1.GetResponse](ctx, doer(do), interrexv1.LeaseServiceGetProcedure, &interrexv1.GetRequest{
		Key: r.Key.String(), Consistency: wire.Consistency(r.Consistency), MinRevision: uint64(r.MinRevision),
		AtRevision: uint64(r.AtRevision), AtTime: wire.Timestamp(r.AtTime),
	}, Options{})
	a, err := leaseAnswer(m, err)
	return a.Lease, a.Revision, err
}

// one returns the page with the lease of the request's key.
func (do leaseCalls) one(ctx context.Context, r interrex.ListRequest) (p interrex.Page[interrex.Lease], err error) {
	if r.Namespace != "" || r.Prefix != "" || r.PageSize != 0 || r.PageToken != "" {
		return p, interrex.Errorf(interrex.ErrInvalid, "key: %s is one lease: leave out namespace, prefix, page_size and page_token", r.Key)
	}
	l, revision, err := do.get(ctx, r)
	if err == nil {
		p = interrex.Page[interrex.Lease]{Items: []interrex.Lease{l}, Revision: revision}
	}
	return p, err
}

func (do leaseCalls) List(ctx context.Context, r interrex.ListRequest) (interrex.Page[interrex.Lease], error) {
	if r.Key != (interrex.Key{}) {
		return do.one(ctx, r)
	}
	size, err := count("page_size", r.PageSize)
	if err != nil {
		return interrex.Page[interrex.Lease]{}, err
	}
	m, err := ask[interrexv1.ListResponse](ctx, doer(do), interrexv1.LeaseServiceListProcedure, &interrexv1.ListRequest{
		Namespace: r.Namespace, Prefix: r.Prefix, PageSize: size, PageToken: r.PageToken,
		Consistency: wire.Consistency(r.Consistency), MinRevision: uint64(r.MinRevision),
		AtRevision: uint64(r.AtRevision), AtTime: wire.Timestamp(r.AtTime),
	}, Options{})
	if err != nil {
		return interrex.Page[interrex.Lease]{}, err
	}
	p := interrex.Page[interrex.Lease]{NextPageToken: m.GetNextPageToken(), Revision: interrex.Revision(m.GetRevision())}
	for _, item := range m.GetItems() {
		l, err := wire.FromLease(item)
		if err != nil {
			return interrex.Page[interrex.Lease]{}, understood(err)
		}
		p.Items = append(p.Items, l)
	}
	return p, nil
}

func (do leaseCalls) Diff(ctx context.Context, from, to interrex.Revision, r interrex.ListRequest) (interrex.Page[interrex.LeaseDifference], error) {
	var p interrex.Page[interrex.LeaseDifference]
	if r.AtRevision != 0 || !r.AtTime.IsZero() || r.Key != (interrex.Key{}) {
		return p, interrex.Errorf(interrex.ErrInvalid, "at_revision, at_time, key: leave them out: a difference is between two revisions, and of all keys")
	}
	size, err := count("page_size", r.PageSize)
	if err != nil {
		return p, err
	}
	m, err := ask[interrexv1.DiffResponse](ctx, doer(do), interrexv1.LeaseServiceDiffProcedure, &interrexv1.DiffRequest{
		Namespace: r.Namespace, Prefix: r.Prefix, FromRevision: uint64(from), ToRevision: uint64(to), PageSize: size, PageToken: r.PageToken,
		Consistency: wire.Consistency(r.Consistency), MinRevision: uint64(r.MinRevision),
	}, Options{})
	if err != nil {
		return p, err
	}
	p.NextPageToken, p.Revision = m.GetNextPageToken(), interrex.Revision(m.GetRevision())
	for _, item := range m.GetItems() {
		d, err := wire.FromLeaseDifference(item)
		if err != nil {
			return interrex.Page[interrex.LeaseDifference]{}, understood(err)
		}
		p.Items = append(p.Items, d)
	}
	return p, nil
}

func (do leaseCalls) History(ctx context.Context, key interrex.Key) ([]interrex.PastLease, interrex.Revision, error) {
	m, err := ask[interrexv1.HistoryResponse](ctx, doer(do), interrexv1.LeaseServiceHistoryProcedure, &interrexv1.HistoryRequest{Key: key.String()}, Options{})
	if err != nil {
		return nil, 0, err
	}
	var items []interrex.PastLease
	for _, item := range m.GetItems() {
		p, err := wire.FromPastLease(item)
		if err != nil {
			return nil, 0, understood(err)
		}
		items = append(items, p)
	}
	return items, interrex.Revision(m.GetRevision()), nil
}

// leaseAnswer converts a response that contains a lease.
func leaseAnswer(m interface {
	proto.Message
	GetLease() *interrexv1.Lease
	GetRevision() uint64
}, err error) (interrex.LeaseAnswer, error) {
	if err != nil {
		return interrex.LeaseAnswer{}, err
	}
	l, err := wire.FromLease(m.GetLease())
	a := interrex.LeaseAnswer{Lease: l, Revision: interrex.Revision(m.GetRevision())}
	if r, is := m.(interface{ GetReplayed() bool }); is {
		a.Replayed = r.GetReplayed()
	}
	return a, understood(err)
}

// understood returns the error of a response with a field that cannot be converted.
func understood(err error) error {
	if err == nil {
		return nil
	}
	return unreadable(err)
}
