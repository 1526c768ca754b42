package interrex

import (
	"context"
	"encoding/json"
	"time"
)

// MaxBlock is how long a read may wait for a change.
const MaxBlock = 10 * time.Minute

// UserChange is the kind of the changes that users append.
const UserChange = "user"

// Change is one committed change of anything.
type Change struct {
	// Revision is its place in the feed. Several changes have the same where one
	// operation made them.
	Revision Revision
	Kind     string
	Key      string // of what was changed; empty for UserChange
	Tags     []string
	// Time is the wall clock (UTC) of the leader: information, no rule reads it.
	Time time.Time
	// Data is what the user appended, or the lease or resource as it was left. Its
	// numbers are those of JSON: what is beyond 2^53 has lost its last digits.
	Data json.RawMessage
}

// AppendRequest appends a user's change.
type AppendRequest struct {
	Data      json.RawMessage // JSON of at most MaxData bytes, 100 lists and objects in one another
	Tags      []string        // at most 16, each of 1 to 128 bytes
	RequestID string          // empty: a library fills one in
	Attempt   uint32
	Fence     Fence
}

// AppendAnswer answers it.
type AppendAnswer struct {
	Change   Change
	Replayed bool // an earlier attempt had done it; nothing was done again
	Revision Revision
}

// ChangeFilter says which changes are wanted. What is empty is any.
type ChangeFilter struct {
	Tags   []string // with one of them
	Kinds  []string // of one of them
	Prefix string   // of the key
}

// ListChangesRequest reads a part of the feed of the agent that is asked.
type ListChangesRequest struct {
	ChangeFilter
	// Since is exclusive; 0: from the first that is kept. An agent that is behind
	// it waits until it has caught up; one that the cluster has not reached is
	// KindInvalid.
	Since Revision
	Limit int // 0: 100; at most 1 000
	// Block is how long to wait for the first change when there is none, at most
	// MaxBlock; 0: not at all.
	Block       time.Duration
	MinRevision Revision // the agent waits until it has applied it
}

// ChangePage is a part of the feed.
type ChangePage struct {
	Items []Change
	// First and Last are the first and the last revision that is kept; 0: there is
	// none.
	First, Last Revision
	// AtStart says that no change that is kept and matches comes before the first
	// item (of what is before Since the nearest 10 000 are looked at; where there
	// are more, it is false), AtEnd that none came behind the last.
	AtStart, AtEnd bool
	// Revision is where the agent stood. If AtEnd, the next read may begin there.
	Revision Revision
}

// WatchChangesRequest follows the feed.
type WatchChangesRequest struct {
	ChangeFilter
	Since Revision // exclusive; 0: from the first that is kept
}

// Changes is what an agent and a client both offer. Errors are *Error.
type Changes interface {
	Append(ctx context.Context, r AppendRequest) (AppendAnswer, error)
	// Get returns the change of a revision, the first where it has several;
	// KindNotFound when there is none or it is not kept any more.
	Get(ctx context.Context, r Revision) (Change, error)
	// List reads a part of the feed: KindCompacted, with the FirstRevision to ask
	// for, when what follows since is not kept any more.
	List(ctx context.Context, r ListChangesRequest) (ChangePage, error)
	Watch(ctx context.Context, r WatchChangesRequest) (ChangeWatch, error)
}

// ChangeWatch yields changes in the order of their revisions.
type ChangeWatch interface {
	// Next blocks until a change is there: see LeaseWatch.
	Next(ctx context.Context) (Change, error)
	// Disconnected reports since when no agent serves the watch, and what each
	// agent said last: see LeaseWatch.
	Disconnected() (since time.Time, why error)
	// Close ends the watch and waits for what it owns.
	Close() error
}
