// Package state owns the contract between the replicated state and its tables: what a
// table must do, what it is told, and what its service may read.
package state

import (
	"io"
	"sync"
	"time"

	"github.com/interrex/interrex"
)

// TableID names a table in entries and snapshots. An ID is never reused.
type TableID uint16

// FirstEmbedderTable is the first ID of an embedder's tables; those below are
// interrex's own.
const FirstEmbedderTable TableID = 256

// Time is cluster time: nanoseconds since bootstrap, stamped on entries by the
// leader. It never decreases, and all expiry is decided by it.
type Time int64

// Add returns t moved by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Reply is the reply to an applied operation: an immutable value of the table.
type Reply any

// Table is one part of the replicated state, which calls all methods except the
// table's own typed reads; Check, Apply, Due, Tick, Freeze and Restore run with
// the table's lock held, which is taken once an entry. Name, ID, Version,
// Decode and the codec of replies run with or without it.
//
// Check, Apply and Tick must depend only on the table, the Turn and the
// operation: no clock, no map iteration order, no random number. A panic while
// the log is applied halts the whole agent, leases too, and again after a
// restart.
type Table interface {
	Name() string
	ID() TableID
	Version() uint16
	sync.Locker

	// Decode reads one operation and validates it; the result depends on data only.
	// The error is an *interrex.Error. data is a part of the log entry and never
	// changes; a table must clone what it keeps of it, or it keeps the whole entry
	// alive.
	Decode(data []byte) (Command, error)
	// Check reports whether a command that Decode returned can be applied now. It
	// changes nothing. The error is an *interrex.Error; it may carry Remaining and
	// the like, as of now.
	Check(now Time, c Command) error
	// Apply applies a command that Check has allowed; it cannot fail. It always
	// changes something (see Idler): t.Revision is the operation's revision.
	Apply(t *Turn, c Command) Reply

	// Due returns the earliest cluster time at which the table wants a Tick; false
	// if it currently wants none.
	Due() (Time, bool)
	// Tick ends at most limit items that are due at t.Now, calling t.Next for each,
	// and returns their number.
	Tick(t *Turn, limit int) int

	// Freeze returns a view that later changes do not affect. It must be quick: the
	// work is done while the view is written, concurrently with further Applies.
	Freeze() View
	// Restore replaces the table by what a View of the given version wrote, up to
	// the end of r. A truncated view, or trailing bytes, are an error. On an error
	// it has changed nothing.
	// A restore of a saved snapshot calls it too, on a table that is not empty: cluster
	// times in that view are of when, and where, it was saved. A table that has much, or
	// keeps times, may have Stage and Replace for that: see statetest.Run.
	Restore(version uint16, r io.Reader) error

	// AppendReply and DecodeReply are the codec of the replies that are stored in
	// records of request ids. They are safe for concurrent use. The length of what
	// AppendReply appends counts in the limits of these records, so it must be the same
	// on every agent.
	AppendReply(b []byte, r Reply) []byte
	DecodeReply(b []byte) (Reply, error)
}

// View is a table's frozen content.
type View interface {
	// Write writes the content; equal tables write equal bytes.
	Write(w io.Writer) error
	// Release is called once, also without a Write.
	Release()
}

// Follower is an optional interface of a table: after each operation or group,
// and after each table's Tick, it receives their events, in table order, and may
// change itself in the same entry, calling t.Next for each change. It sees what
// the followers before it have added, and must not keep the slice.
type Follower interface {
	Follow(t *Turn, events []Event)
}

// EventCodec is an optional interface of a table: the codec of Event.Value, with
// which the feed of changes keeps its events in snapshots. Without it their values are
// Lost there. It is safe for concurrent use.
type EventCodec interface {
	AppendEvent(b []byte, value any) []byte
	DecodeEvent(b []byte) (any, error)
}

// Lost is the Value of an event that was kept in a snapshot without its value: its
// table has no EventCodec.
type Lost struct{}

// Idler is an optional interface of a table. Idle reports that a command, which
// Check has allowed, would change nothing, as the delete of what is not there.
// Then it takes no revision and leaves no record of its request id: repeating it
// is harmless. It is answered with the reply that Idle returns, and Apply is not
// called.
type Idler interface {
	Idle(c Command) (Reply, bool)
}

// Grouper is an optional interface of a table: it checks its operations of one
// group together, each with the effect of those before it; an error is the refusal of
// the last one. The operations are then applied in the same order, interleaved with
// those of other tables, and before any Follower sees their events; none of that may
// make an Apply fail. Without it each is checked by itself, and a second one is
// ErrInvalid unless their keys (About().Key) differ. A table in which an operation
// can break the rule of another key, or a limit over all keys, needs it.
type Grouper interface {
	CheckGroup(now Time, all []Command) error
}

// Knower is an optional interface of a table whose commands are numbered. Knows reports
// whether this build has the command that data encodes, whatever its fields. An agent
// halts at an entry with a command that it does not have, as after the return to an
// earlier build: to refuse the command would be to diverge from the agents that apply
// it. It depends on data only. Without it such a command is refused.
type Knower interface {
	Knows(data []byte) bool
}

// Waitable is implemented by a table whose operations may wait for one another,
// such as a claim for a key that another holds. Its answers are the leader's
// guesses while it builds an entry; only Apply decides. Its methods take the
// table's lock themselves, and may be called with commands of any table: it
// knows its own.
type Waitable interface {
	// Wants reports whether c wants its key exclusively, so that it may wait while
	// the key is taken, and the maximum interval between retries of its caller.
	Wants(c Command) (every time.Duration, wants bool)
	// Passes reports whether c, which wants its key, goes ahead of those that
	// wait for it, as a takeover by the holder does.
	Passes(c Command) bool
	// Frees reports whether c would leave its key free if it were applied at
	// now, after the commands of before.
	Frees(before []Command, c Command, now Time) bool
	// Free reports whether k is free at now; if not, until is when it will be,
	// as far as is known. 0: unknown, as for a pinned lease.
	Free(k interrex.Key, now Time) (free bool, until Time)
	// Ends returns the keys that a Tick with the same now and limit would free,
	// in its order.
	Ends(now Time, limit int) []interrex.Key
	// Taken returns the ErrHeld error for a command that wants k: the holder,
	// since when, and the remaining time as of now. Its text ends with why.
	Taken(k interrex.Key, now Time, why string) *interrex.Error
}

// Event is one change by an applied operation or by the passing of time. It is
// published on every agent in the order of revisions, and is immutable.
type Event struct {
	Revision interrex.Revision
	Table    TableID
	Kind     string // for example interrex.LeaseClaimed
	Key      string // for example NAMESPACE/NAME
	Now      Time
	Wall     time.Time // the leader's wall clock, for information only
	Value    any       // the table's own record, immutable
	Size     int       // approximate bytes, for the ring's limit
}

// Turn is the context in which one operation or Tick is applied.
type Turn struct {
	Revision interrex.Revision // of the present change
	Now      Time
	Wall     time.Time
	Table    TableID
	Minted   []byte // of the present operation: clone what is kept

	events []Event
}

// Begin starts the turn of an entry, without events, in the memory of the one before.
// Only the state calls it.
func (t *Turn) Begin(r interrex.Revision, now Time, wall time.Time) {
	clear(t.events)
	*t = Turn{Revision: r, Now: now, Wall: wall, events: t.events[:0]}
}

// Next takes one more revision, for a further change in the same turn.
func (t *Turn) Next() interrex.Revision {
	t.Revision++
	return t.Revision
}

// Emit publishes an event at the current revision.
func (t *Turn) Emit(kind, key string, value any, size int) {
	t.events = append(t.events, Event{
		Revision: t.Revision, Table: t.Table, Kind: kind, Key: key,
		Now: t.Now, Wall: t.Wall, Value: value, Size: size,
	})
}

// Events returns what was emitted in this turn, in order.
func (t *Turn) Events() []Event { return t.events }
