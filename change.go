package interrex

import (
	"context"
	"encoding/json"
	"time"
)

// UserChange is the kind of the changes that users append.
const UserChange = "user"

// Change is one committed change of anything.
type Change struct {
	// Revision is its position in the feed. Changes made by one operation may share
	// it.
	Revision Revision
	Kind     string
	Key      string // of the changed object; empty for UserChange
	Tags     []string
	// Time is the wall clock (UTC) of the leader, for information only.
	Time time.Time
	// Data is what the user appended, or the lease or resource after the change.
	// Its numbers are those of JSON: above 2^53 they have lost precision.
	Data json.RawMessage
}

// AppendRequest appends a user's change.
type AppendRequest struct {
	Data      json.RawMessage // JSON of at most MaxData bytes, 100 lists and objects in one another
	Tags      []string        // at most 16, each of 1 to 128 bytes
	RequestID string          // at most 64 bytes; empty: a library fills one in
	Attempt   uint32
	Fence     Fence
}

// ChangeFilter selects changes. An empty field matches any.
type ChangeFilter struct {
	Tags   []string // with one of them
	Kinds  []string // of one of them
	Prefix string   // of the key
}

// ListChangesRequest requests a part of the feed of the agent that receives it.
type ListChangesRequest struct {
	ChangeFilter
	// Since is exclusive; 0: from the oldest that is kept. An agent that is behind
	// it waits until it has caught up; one that the cluster has not reached is
	// ErrInvalid.
	Since Revision
	Limit int // 0: 100; at most 1 000
	// Block is how long to wait for the first change if no change matches yet, at most
	// 10 min; 0: do not wait.
	Block       time.Duration
	MinRevision Revision // the agent waits until it has applied it
}

// ChangePage is a part of the feed.
type ChangePage struct {
	Items []Change
	// First and Last are the oldest and the newest revision that is kept; 0: none
	// is.
	First, Last Revision
	// AtStart reports whether no kept change that matches precedes the first item
	// (only the nearest 10 000 changes before Since are searched; if there are
	// more, it is false), AtEnd whether none follows the last.
	AtStart, AtEnd bool
	// Revision is the agent's revision at the read. If AtEnd, the next read may
	// begin there.
	Revision Revision
}

// WatchChangesRequest follows the feed.
type WatchChangesRequest struct {
	ChangeFilter
	Since Revision // exclusive; 0: from the first that is kept
}

// Changes is implemented by agents and clients. Errors are *Error.
type Changes interface {
	Append(ctx context.Context, r AppendRequest) (Answer[Change], error)
	// Get returns the change of a revision, the first if there are several;
	// ErrNotFound if it does not exist or is no longer kept.
	Get(ctx context.Context, r Revision) (Change, error)
	// List reads a part of the feed. The error is ErrCompacted, with the
	// FirstRevision to request, if what follows since is no longer kept.
	List(ctx context.Context, r ListChangesRequest) (ChangePage, error)
	Watch(ctx context.Context, r WatchChangesRequest) (Watch[Change], error)
}
