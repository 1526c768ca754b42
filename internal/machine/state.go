// Package machine owns the replicated state machine: many tables changed by one log, its
// revisions, its time, its records of request ids, and its snapshots.
package machine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// State is the replicated state. It outlives restarts of raft within a process,
// belongs to one history, and never goes back. Apply, Snapshot, Restore and
// StoreConfiguration are called by raft; everything else is safe for concurrent
// use.
type State struct {
	tables    tableSet
	fencer    fencer
	waitable  state.Waitable
	recorder  recorder
	publisher Publisher
	frozen    func(*Frozen)
	clock     clock.Clock
	logger    interrex.Logger

	at       atomic.Pointer[moment]
	passed   atomic.Uint64
	halted   atomic.Pointer[error]
	applied  waiters
	revision waiters

	// mu guards the fields below. It is locked before the tables' locks, which are
	// locked in order.
	mu     sync.RWMutex
	system *system
	entry  Entry      // scratch
	turn   state.Turn // scratch

	present  ComparedEntry // the entry that is being applied
	compared bool          // the state is frozen after it
}

// moment is a state's position after an entry. It is immutable.
type moment struct {
	index    uint64
	term     uint64
	revision interrex.Revision
	floor    interrex.Revision
	loss     Loss
	restored RestoredFile
	now      state.Time
	since    time.Time // own clock, when it was applied
	due      state.Time
	hasDue   bool
	identity Identity // its map is never changed
}

// Config configures a State.
type Config struct {
	// Tables are the tables, in any order: everything that is done table by
	// table is done in the order of their IDs.
	Tables []state.Table
	// Publisher receives the events; may be nil.
	Publisher Publisher
	// Frozen receives the state as it is after each entry with a Compare, and releases
	// it. It is called during Apply, and must not block. nil: nothing is frozen.
	Frozen func(*Frozen)
	// Clock serves estimates of the present cluster time, and nothing that is
	// replicated; nil: the wall clock.
	Clock clock.Clock
	// Logger logs halts and restores; may be nil.
	Logger interrex.Logger
}

// Validate returns an error that names what is not valid.
func (c Config) Validate() error {
	ids, names := map[state.TableID]bool{SystemTable: true}, map[string]bool{systemName: true}
	for _, t := range c.Tables {
		switch {
		case t == nil:
			return errors.New("nil Table not valid")
		case t.Name() == "":
			return fmt.Errorf("empty Name of table %d not valid", t.ID())
		case ids[t.ID()]:
			return fmt.Errorf("table %q: its ID %d is in use", t.Name(), t.ID())
		case names[t.Name()]:
			return fmt.Errorf("table %d: its name %q is in use", t.ID(), t.Name())
		}
		if err := validSettings(t.Name(), t); err != nil {
			return fmt.Errorf("table %q: %w", t.Name(), err)
		}
		ids[t.ID()], names[t.Name()] = true, true
	}
	return nil
}

// Publisher receives the events of each entry, during Apply. It must not block.
type Publisher interface {
	// Publish receives the events of one entry, possibly none, and the revision
	// after it. The slice then belongs to the Publisher.
	Publish(events []state.Event, last interrex.Revision)
	// Reset reports that history before last is gone: a snapshot was restored. What
	// follows ended, the newest restore of a file, does not continue what was before; 0:
	// there was none.
	Reset(last, ended interrex.Revision)
}

// New returns an empty state. The tables must be empty, and belong to the state
// from now on.
func New(c Config) (*State, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot make state: %w", err)
	}
	s := &State{publisher: c.Publisher, frozen: c.Frozen, clock: c.Clock, logger: c.Logger}
	s.tables = slices.SortedFunc(slices.Values(c.Tables), func(a, b state.Table) int { return int(a.ID()) - int(b.ID()) })
	for _, t := range s.tables {
		if f, ok := t.(fencer); ok && s.fencer == nil {
			s.fencer = f
		}
		if w, ok := t.(state.Waitable); ok && s.waitable == nil {
			s.waitable = w
		}
		if r, ok := t.(recorder); ok && s.recorder == nil {
			s.recorder = r
			r.UseCodecs(s.codec)
		}
	}
	for _, t := range s.tables {
		if f, ok := t.(fenced); ok && s.fencer != nil {
			f.UseFence(s.fencer.Holds)
		}
	}
	if s.publisher == nil {
		s.publisher = discard{}
	}
	if s.clock == nil {
		s.clock = clock.WallClock
	}
	if s.logger == nil {
		s.logger = silent.Logger{}
	}
	s.tables.lock()
	defer s.tables.unlock()
	s.system = newSystem(declare(s.tables))
	s.system.settings.configure()
	m := moment{since: s.clock.Now()}
	m.due, m.hasDue = s.due()
	s.at.Store(&m)
	return s, nil
}

// due returns the earliest time at which something ends. The locks are held.
func (s *State) due() (at state.Time, found bool) {
	at, found = s.tables.due()
	if stale, is := s.system.stale(); is && (!found || stale < at) {
		return stale, true
	}
	return at, found
}

// Close ends all waits, now and later, with ErrUnavailable, and drops a file that is
// being staged: nothing is applied any more.
func (s *State) Close() {
	s.mu.Lock()
	s.system.unstage()
	s.mu.Unlock()
	err := interrex.Errorf(interrex.ErrUnavailable, "state: closed")
	s.applied.close(err)
	s.revision.close(err)
}

// Halted returns why this replica has stopped applying, or nil. It stops rather
// than diverge if an entry needs a version, a table or a kind that this build
// does not know, or if a table fails. It continues after a restart with a build
// that can apply the entry, or after the restore of a newer snapshot.
func (s *State) Halted() error {
	if err := s.halted.Load(); err != nil {
		return *err
	}
	return nil
}

// halt stores the first reason only: later ones may be its consequence.
func (s *State) halt(index uint64, err error) {
	if s.Halted() != nil {
		return
	}
	err = interrex.Errorf(interrex.ErrUnavailable, "state: halted at log index %d: %v: run a build that can apply it, or restore a newer snapshot", index, err).WithCause(err)
	s.halted.Store(&err)
	text := err.Error()
	if p := (*panicked)(nil); errors.As(err, &p) {
		text += "\n" + string(p.stack)
	}
	s.logger.Criticalf("%s", text)
	s.applied.fail(err)
	s.revision.fail(err)
}

// codec returns the codec of a table's events; nil if it has none.
func (s *State) codec(id state.TableID) state.EventCodec {
	c, _ := s.tables.find(id).(state.EventCodec)
	return c
}

// tableSet are tables in the order of their IDs.
type tableSet []state.Table

// find returns a table; nil if it is unknown.
func (ts tableSet) find(id state.TableID) state.Table {
	for _, t := range ts {
		if t.ID() == id {
			return t
		}
	}
	return nil
}

func (ts tableSet) lock() {
	for _, t := range ts {
		t.Lock()
	}
}

func (ts tableSet) unlock() {
	for _, t := range slices.Backward(ts) {
		t.Unlock()
	}
}

// due returns the earliest time at which a table wants a tick. The locks are held.
func (ts tableSet) due() (at state.Time, found bool) {
	for _, t := range ts {
		if due, ok := t.Due(); ok && (!found || due < at) {
			at, found = due, true
		}
	}
	return at, found
}

// discard is the publisher of a state without one.
type discard struct{}

func (discard) Publish([]state.Event, interrex.Revision) {}
func (discard) Reset(_, _ interrex.Revision)             {}

var (
	_ raft.FSM                = (*State)(nil)
	_ raft.ConfigurationStore = (*State)(nil)
)
