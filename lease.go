package interrex

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex/internal/wording"
)

// Limits of a lease.
const (
	MinTTL     = 200 * time.Millisecond
	MaxTTL     = 24 * time.Hour
	DefaultTTL = 15 * time.Second
	MaxWait    = time.Hour
)

// ValidateTTL checks a ttl; the error is ErrInvalid. 0, which in most requests
// means a default, is not allowed.
func ValidateTTL(d time.Duration) error {
	if d < MinTTL || d > MaxTTL {
		return Errorf(ErrInvalid, "ttl: %s to %s are allowed, not %v", wording.Rounded(MinTTL), wording.Rounded(MaxTTL), d)
	}
	return nil
}

// Lease is one held lease as an agent saw it.
type Lease struct {
	Key    Key
	Holder string
	Token  Token
	TTL    time.Duration
	// AcquiredAt is the wall clock (UTC) of the leader that granted it, for
	// information only.
	AcquiredAt time.Time
	// Remaining is the estimate, by the agent that returned the lease, of the time
	// until it is due, never below zero. No deadline is computed from it: a
	// holder's deadline counts from its own send time. Zero for a pinned lease.
	Remaining time.Duration
	// ExpiresAt is that agent's wall clock plus Remaining; zero for a pinned lease.
	ExpiresAt time.Time
	Metadata  map[string]string
	Pins      []Pin
	// Waiting is the number of claims that wait for the key. Only the leader knows
	// it; nil: unknown.
	Waiting *int
}

// Pinned reports whether a pin keeps the lease from expiring.
func (l Lease) Pinned() bool { return len(l.Pins) > 0 }

// Pin keeps a lease from expiring until its owner removes the pin.
type Pin struct {
	Owner  string
	Reason string
	// Until is the estimate (wall clock) of when the pin ends by itself; zero: only
	// its owner removes it.
	Until time.Time
}

// PastLease is one entry of a key's history.
type PastLease struct {
	Holder     string
	Token      Token
	AcquiredAt time.Time // the leader's wall clock (UTC)
	EndedAt    time.Time // the leader's wall clock (UTC); zero: still held
	How        Ending    // empty: still held
}

// Ending says how a lease ended.
type Ending string

// The ways in which a lease ends.
const (
	EndReleased    Ending = "released"
	EndForced      Ending = "forced"
	EndExpired     Ending = "expired"
	EndTransferred Ending = "transferred"
	EndTakenOver   Ending = "taken_over"
)

// The kinds of lease event.
const (
	LeaseClaimed     = "lease.claimed"
	LeaseTakenOver   = "lease.taken_over"
	LeaseTransferred = "lease.transferred"
	LeaseReleased    = "lease.released"
	LeaseForced      = "lease.forced"
	LeaseExpired     = "lease.expired"
	LeasePinned      = "lease.pinned"
	LeaseUnpinned    = "lease.unpinned"
)

// LeaseEvent is one committed change of a lease. An extend publishes none.
type LeaseEvent struct {
	// Kind is one of the constants above; "lease.present" for a lease that existed
	// when the watch began; "end_of_snapshot" after the last of those.
	Kind     string
	Lease    Lease
	Revision Revision
	// Time is the wall clock (UTC) of the leader at the change, for information
	// only. Zero for LeasePresent and EndOfSnapshot.
	Time time.Time
}

// The kinds of event with which a watch from revision 0 begins.
const (
	LeasePresent  = "lease.present"
	EndOfSnapshot = "end_of_snapshot"
)

// ClaimRequest requests a lease.
type ClaimRequest struct {
	Key    Key
	Holder string        // 1 to 256 bytes of printable UTF-8
	TTL    time.Duration // 0: DefaultTTL
	// Wait is how long the claim may wait if the key is held, at most MaxWait; 0:
	// it returns at once.
	Wait time.Duration
	// Takeover re-issues a lease of the same holder name under a new token: the
	// caller asserts by this that its predecessor has stopped.
	Takeover  bool
	Metadata  map[string]string
	RequestID string // at most 64 bytes; empty: a library fills one in
	Attempt   uint32 // 0 is the first attempt
	Fence     Fence
}

// ExtendRequest moves a lease's expiry to now + TTL, never to an earlier time.
type ExtendRequest struct {
	Key   Key
	Token Token
	TTL   time.Duration // 0: the lease's own
}

// RevokeRequest ends a lease.
type RevokeRequest struct {
	Key   Key
	Token Token
	// Force ends it regardless of the token: the key is free before the holder
	// knows, and only the token protects.
	Force     bool
	RequestID string
	Attempt   uint32
}

// TransferRequest hands a lease to another holder under a new token.
type TransferRequest struct {
	Key       Key
	Token     Token
	To        string        // 1 to 256 bytes of printable UTF-8
	TTL       time.Duration // 0: the lease's own
	RequestID string
	Attempt   uint32
}

// PinRequest pins a lease, or removes the pin of an owner.
type PinRequest struct {
	Key       Key
	Owner     string
	Reason    string        // for a pin: why
	For       time.Duration // for a pin: its time limit; 0: none
	RequestID string
	Attempt   uint32
}

// LeaseAnswer is the response to a claim, extend, transfer, pin or unpin.
type LeaseAnswer struct {
	Lease Lease
	// Attempt names the attempt of a claim that was granted: the holder's
	// deadline counts from that attempt's send time.
	Attempt  uint32
	Replayed bool // an earlier attempt did it; nothing was done again
	Revision Revision
}

// RevokeAnswer is the response to a revoke.
type RevokeAnswer struct {
	// HolderUntil is, after a forced revoke, until when (wall clock) the holder may
	// continue by its own deadline.
	HolderUntil time.Time
	Replayed    bool
	Revision    Revision
}

// Consistency is how fresh a read is.
type Consistency int

// The consistencies. The default is Strong, except for lists of resources, where
// it is Eventual.
const (
	Default  Consistency = iota
	Eventual             // what this agent has now; it may lag
	Strong               // linearizable: one round trip to a quorum
)

// ReadOptions say how fresh a read is.
type ReadOptions struct {
	Consistency Consistency
	// MinRevision makes an eventual read wait until this agent has applied
	// that revision: read your own writes anywhere. 0: no wait.
	MinRevision Revision
}

// ListRequest requests a page of leases, in the order of their keys.
type ListRequest struct {
	Namespace string // empty: all
	Prefix    string // of the name
	PageSize  int    // 0: 1 000, the maximum
	PageToken string
	ReadOptions
	// AtRevision requests the leases as they were at that revision, and AtTime at that
	// time, by the leaders' wall clocks; set one of them, or none for the present ones.
	// Such leases have a Key, a Holder, a Token, AcquiredAt and Metadata. What is no longer
	// known is ErrCompacted; a revision or time to come is ErrInvalid.
	AtRevision Revision
	AtTime     time.Time
	// Key selects one lease, which needs no right to list; Namespace, Prefix, PageSize and
	// PageToken must then be empty. If nobody held it the error is ErrNotFound.
	Key Key
}

// LeaseDifference is a key of which two revisions differ. The leases are as in a list with
// AtRevision; nil: nobody held it.
type LeaseDifference struct {
	Key           Key
	Before, After *Lease
}

// Page is one page of a list. A page of resources also ends at 1 MiB.
type Page[T any] struct {
	Items         []T
	NextPageToken string // empty: this was the last page
	Revision      Revision
}

// WatchRequest requests lease events.
type WatchRequest struct {
	Namespace string // empty: all
	Prefix    string // of the name
	// Key selects one lease; Namespace and Prefix must then be empty.
	Key Key
	// Since is exclusive. 0: the current leases first, then EndOfSnapshot, then
	// changes. A revision that the cluster has not reached is ErrInvalid.
	Since Revision
}

// ErrStopCampaign is returned by the function of Leases.Run to end Run after the
// release. Run returns nil if the function returned ErrStopCampaign itself, and
// the function's error unchanged if that wraps it. Either is joined with the
// error of the release, if the lease could not be released.
var ErrStopCampaign = errors.New("stop the campaign")

// Validate checks a request; the error is ErrInvalid.
func (r WatchRequest) Validate() error {
	if r.Key != (Key{}) {
		if r.Namespace != "" || r.Prefix != "" {
			return Errorf(ErrInvalid, "key: %s is one lease: leave out namespace and prefix", r.Key)
		}
		return r.Key.Validate()
	}
	if r.Namespace != "" {
		return validateNamespace(r.Namespace)
	}
	return nil
}

// Leases is implemented by agents and clients. Errors are *Error; compare them
// with errors.Is and the sentinels of this package.
type Leases interface {
	// Hold claims the lease of key and keeps it extended until Release, loss, or
	// the end of ctx. If ctx has already ended, the error is ErrTimeout and
	// nothing has happened; if ctx ends during the claim, Hold releases a lease
	// that it was granted, if it learns of it within half a second.
	Hold(ctx context.Context, key string, o HoldOptions) (Held, error)
	// Run campaigns for key, runs fn under the hold's context, waits for fn,
	// releases, and campaigns again with backoff until ctx ends; then it returns
	// the cause of ctx. An error of fn is logged as a warning and does not end Run,
	// unless it is or wraps ErrStopCampaign. An error that a retry cannot fix
	// (ErrInvalid, ErrDenied and the like) ends it earlier.
	Run(ctx context.Context, key string, o HoldOptions, fn func(ctx context.Context, held Held) error) error

	Claim(ctx context.Context, r ClaimRequest) (LeaseAnswer, error)
	Extend(ctx context.Context, r ExtendRequest) (LeaseAnswer, error)
	Revoke(ctx context.Context, r RevokeRequest) (RevokeAnswer, error)
	Transfer(ctx context.Context, r TransferRequest) (LeaseAnswer, error)
	Pin(ctx context.Context, r PinRequest) (LeaseAnswer, error)
	Unpin(ctx context.Context, r PinRequest) (LeaseAnswer, error)

	Get(ctx context.Context, key Key, o ReadOptions) (Lease, Revision, error)
	List(ctx context.Context, r ListRequest) (Page[Lease], error)
	// Diff returns a page of the keys, in their order, whose lease at one revision is not
	// that at a later one: one was granted, has ended, or was followed by another. to may
	// be 0, now: the page's Revision is then the one to request the next pages with.
	// AtRevision, AtTime and Key must not be set.
	Diff(ctx context.Context, from, to Revision, r ListRequest) (Page[LeaseDifference], error)
	History(ctx context.Context, key Key) ([]PastLease, Revision, error)
	Watch(ctx context.Context, r WatchRequest) (Watch[LeaseEvent], error)
}

// Watch yields events, or the changes of the feed, in the order of their revisions.
type Watch[E any] interface {
	// Next blocks until there is an event. If ctx ends first, the error is
	// ErrTimeout, and the watch continues; after any other error there are no more
	// events. After ErrCompacted and ErrWatchClosed list again; after
	// ErrOtherCluster make a new client, because every address now leads to
	// another cluster.
	Next(ctx context.Context) (E, error)
	// Disconnected reports since when no agent has served the watch, and the last
	// error of each; the zero time if one does. The watch keeps trying, and Next
	// waits.
	Disconnected() (since time.Time, why error)
	// Close ends the watch and waits for its goroutines.
	Close() error
}

// HoldOptions say how a lease is held.
type HoldOptions struct {
	TTL      time.Duration // 0: DefaultTTL
	Holder   string        // empty: $INTERREX_HOLDER, else HOST/PID/RANDOM
	Metadata map[string]string
	// Wait is how long Hold waits for a lease that is held by another. 0: it does
	// not wait, and returns within client.Config.Timeout. Negative: until ctx ends,
	// as Run always does.
	Wait time.Duration
	// Takeover claims a lease of the same holder name: see ClaimRequest.
	Takeover bool
}

// Held is a lease that is held now.
type Held interface {
	Key() Key
	Token() Token
	// Context ends one margin before Deadline, at once when the lease is known to be
	// lost, and before a release. The margin is 10 % of the ttl, at least 50 ms, at most
	// half of the ttl. The cause is ErrNotHeld if the lease was lost or revoked, the
	// cause of the context that Hold was given if that has ended, and else an error
	// without a kind: after a release or transfer, or when the agent has stopped or the
	// client is closed. Err and Done read the clock first: they are correct from the
	// first call after a pause of the process or the machine. A channel that Done returned before the pause,
	// and a context derived from this one, end when a timer has run, up to a
	// quarter of the margin after the pause, at most 1 s.
	Context() context.Context
	// Check returns nil while the context has not ended, and its cause after. Call
	// it right before each effect, even if the work already runs under the context.
	// It reads this process's clock and contacts no agent. A pause between Check
	// and the effect is still possible: only a token sent along with the effect, or
	// a fence, protects against that.
	Check() error
	// Deadline is the send time of the last attempt that was answered, plus the
	// ttl: nobody else is granted the key before it. The context ends one margin
	// earlier, and the work must have ended half a margin earlier. It moves with
	// each extend. The result is correct only when it is returned: it does not
	// account for later sleep of the machine, so call Deadline again instead of
	// storing it.
	Deadline() time.Time
	// Release ends the context, then revokes. The caller's work must have
	// stopped. It is safe to call it again.
	Release(ctx context.Context) error
	// Transfer ends the context, then hands the lease to another holder.
	Transfer(ctx context.Context, to string) error
}
