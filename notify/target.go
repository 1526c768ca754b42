package notify

import (
	"context"
	"iter"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

// Claimed is the note that a lease has a new holder.
type Claimed struct {
	Key    interrex.Key
	Holder string
	Token  interrex.Token
	TTL    time.Duration
	// AcquiredAt is the granting leader's wall clock (UTC): information.
	AcquiredAt time.Time
	// Revision is that of the event, or, for a lease found by a comparison, that of
	// its grant.
	Revision interrex.Revision
	// Kind is interrex.LeaseClaimed, LeaseTakenOver or LeaseTransferred; or
	// LeasePresent, for a lease that a comparison has found.
	Kind string
}

// Expired is the note that a lease has ended. The name is Juju's; it covers every
// end: How says which.
type Expired struct {
	Key      interrex.Key
	Holder   string         // the last holder
	Token    interrex.Token // the last token
	EndedAt  time.Time      // the leader's wall clock (UTC): information
	Revision interrex.Revision
	How      interrex.Ending // EndExpired, EndReleased or EndForced
}

// NotifyTarget receives the changes of holders. It is Juju's target, with two
// differences: a note carries token, times and revision, so that a target can
// tell an old note from a new one, which a holder's name cannot; and it is
// called by the lease-notify worker, out of the events, instead of by the
// applier, so that a target's database may be down while raft goes on.
//
// Targets are not notified of pins and extends, which change no holder.
type NotifyTarget interface {
	Claimed(Claimed) error
	// Expirations receives consecutive ends without a claim in between, in order.
	// It must not end a lease with a higher token.
	Expirations([]Expired) error
}

// Target is where the worker's notes go. Every method gives up soon after its
// context has ended.
type Target interface {
	// Position returns the position that the target has stored. It is called after
	// every failure, and now and then while nothing happens.
	Position(ctx context.Context) (projection.Position, error)
	// Notify calls tell, which delivers everything from the stored position up to a
	// new one. The target stores the notes and the new position atomically: then
	// repeating them is harmless, and nothing is lost.
	Notify(ctx context.Context, to projection.Position, tell func(NotifyTarget) error) error
	// Replace compares what is stored with all existing leases, in the order of
	// their keys, repairs it, and returns the number of changes. What is in the
	// pages may be delivered again later. It leaves data of another cluster, or of
	// a later epoch, untouched, and returns an error.
	Replace(ctx context.Context, at projection.Position, pages iter.Seq2[[]Claimed, error]) (mended int, err error)
}
