package interrex

import (
	"context"
	"time"
)

// Leases is what an agent and a client both offer. Errors are *Error; compare
// them with errors.Is and the sentinels of this package.
type Leases interface {
	// Hold claims the lease of key and keeps it extended until Release, loss,
	// or the end of ctx.
	Hold(ctx context.Context, key string, o HoldOptions) (Held, error)
	// Run campaigns for key, runs fn under the hold's context, waits for fn,
	// releases, and campaigns again with backoff until ctx ends; then it
	// returns the cause of ctx. An error that no retry can mend (KindInvalid,
	// KindDenied and the like) ends it earlier.
	Run(ctx context.Context, key string, o HoldOptions, fn func(ctx context.Context, held Held) error) error

	Claim(ctx context.Context, r ClaimRequest) (LeaseAnswer, error)
	Extend(ctx context.Context, r ExtendRequest) (LeaseAnswer, error)
	Revoke(ctx context.Context, r RevokeRequest) (RevokeAnswer, error)
	Transfer(ctx context.Context, r TransferRequest) (LeaseAnswer, error)
	Pin(ctx context.Context, r PinRequest) (LeaseAnswer, error)
	Unpin(ctx context.Context, r PinRequest) (LeaseAnswer, error)

	Get(ctx context.Context, key Key, o ReadOptions) (Lease, Revision, error)
	List(ctx context.Context, r ListRequest) (LeasePage, error)
	History(ctx context.Context, key Key) ([]PastLease, Revision, error)
	Watch(ctx context.Context, r WatchRequest) (LeaseWatch, error)
}

// LeaseWatch yields lease events in the order of their revisions.
type LeaseWatch interface {
	// Next blocks until an event is there. After an error there are no more:
	// KindCompacted and KindWatchClosed ask for a new list.
	Next(ctx context.Context) (LeaseEvent, error)
	// Close ends the watch and waits for what it owns.
	Close() error
}

// HoldOptions say how a lease is held.
type HoldOptions struct {
	TTL      time.Duration // 0: DefaultTTL
	Holder   string        // empty: $INTERREX_HOLDER, else HOST/PID/RANDOM
	Metadata map[string]string
	// Wait is how long Hold stands in line for a lease that is taken. 0: it
	// tries once. Negative: as long as ctx lives. Run always waits so.
	Wait time.Duration
	// Takeover claims a lease that the same holder name has: see ClaimRequest.
	Takeover bool
}

// Held is a lease that is held now.
type Held interface {
	Key() Key
	Token() Token
	// Context ends at the holder's deadline less the margin, at once when the
	// lease is known to be lost, and before a release. Its cause says why.
	Context() context.Context
	// Deadline is when the work must have ended, unless an extend is answered
	// before: the context ends half a margin earlier.
	Deadline() time.Time
	// Release ends the context, then revokes. The caller's work must have
	// stopped. It is safe to call it again.
	Release(ctx context.Context) error
	// Transfer ends the context, then hands the lease to another holder.
	Transfer(ctx context.Context, to string) error
}
