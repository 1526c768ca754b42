package notify

import (
	"context"
	"iter"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/projection"
)

// Claimed tells that a lease has a new holder.
type Claimed struct {
	Key    interrex.Key
	Holder string
	Token  interrex.Token
	TTL    time.Duration
	// AcquiredAt is the granting leader's wall clock (UTC): information.
	AcquiredAt time.Time
	// Revision is that of the event. For a lease that a comparison has found,
	// it is that of its grant.
	Revision interrex.Revision
	// Kind is interrex.LeaseClaimed, LeaseTakenOver or LeaseTransferred; or
	// LeasePresent, for a lease that a comparison has found.
	Kind string
}

// Expired tells that a lease is over. It has the name that Juju gave it, and
// means every end: How says which.
type Expired struct {
	Key      interrex.Key
	Holder   string         // who held it
	Token    interrex.Token // under which
	EndedAt  time.Time      // the leader's wall clock (UTC): information
	Revision interrex.Revision
	How      interrex.Ending // EndExpired, EndReleased or EndForced
}

// NotifyTarget is told who holds what. It is Juju's target, with two
// differences: a note carries token, times and revision, so that a target can
// tell an old note from a new one, which a holder's name cannot; and it is
// called by the lease-notify worker, out of the events, instead of by the
// applier, so that a target's database may be down while raft goes on.
//
// Pins and extends are no business of a target: they change no holder.
type NotifyTarget interface {
	Claimed(Claimed) error
	// Expirations takes the ends that follow each other without a claim in
	// between, in order. It must not end a lease with a higher token.
	Expirations([]Expired) error
}

// Position is how far a target has come, in which history.
type Position = projection.Position

// History says of which cluster's leases a target was told, and in which epoch.
type History = projection.History

// Target is where the worker's notes go. Every method gives up soon after its
// context has ended.
type Target interface {
	// Position says what the target has been told and has kept. It is asked
	// after every failure, and now and then while nothing happens.
	Position(ctx context.Context) (Position, error)
	// Notify calls tell, which tells all that has happened up to a position
	// since the one that is kept. The target keeps what tell has told and the
	// new position together or neither of them: then telling again is
	// harmless, and nothing is lost.
	Notify(ctx context.Context, to Position, tell func(NotifyTarget) error) error
	// Replace compares what is kept with all the leases that there are, in the
	// order of their keys, and mends it, and says how much it changed. It may
	// be told again what is in the pages. What is of another cluster, or of a
	// later epoch, it leaves alone: that is an error.
	Replace(ctx context.Context, at Position, pages iter.Seq2[[]Claimed, error]) (mended int, err error)
}
