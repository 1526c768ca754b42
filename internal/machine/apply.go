package machine

import (
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/state"
)

// Apply applies one log entry and returns a []Result, one for each operation in
// their order. It returns nil for an entry at or below the applied log index,
// which raft replays after a restart within the process, and for an entry that
// cannot be decoded: its caller gets no reply, and must treat its outcome as
// unknown.
//
// The events are published, and then the new revision becomes visible, before the
// tables' locks are released. So a reader that reads Revision with a table's lock
// held sees the table exactly at that revision, and a watch since then gets
// everything that follows and nothing that it has seen.
func (s *State) Apply(l *raft.Log) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Type != raft.LogCommand || l.Index <= s.at.Load().index {
		return nil
	}
	if err := s.entry.Decode(l.Data); err != nil {
		s.halt(l.Index, err)
		return nil
	}
	results := make([]state.Result, len(s.entry.Operations))
	defer clear(s.entry.Operations)
	if s.Halted() == nil {
		if err := s.run(l, results); err != nil {
			s.halt(l.Index, err)
		}
	}
	if halt := s.Halted(); halt != nil {
		for i := range results {
			results[i] = state.Result{Attempt: s.entry.Operations[i].Attempt, Err: errHalted(halt)}
		}
		return results
	}
	m := s.at.Load()
	s.applied.release(m.index)
	s.revision.release(uint64(m.revision))
	return results
}

// StoreConfiguration records the log position of a membership change. The members
// themselves are raft's.
func (s *State) StoreConfiguration(index uint64, _ raft.Configuration) {
	s.Passed(index)
}

// Passed reports that everything up to a log index has been applied. raft does
// not pass barriers and a leader's first entry to an FSM: the caller of a barrier
// must report it here, or WaitApplied would wait for an index that never arrives.
// It does not affect what Apply ignores.
func (s *State) Passed(index uint64) {
	for {
		old := s.passed.Load()
		if index <= old {
			return
		}
		if s.passed.CompareAndSwap(old, index) {
			s.applied.release(index)
			return
		}
	}
}

// known refuses an entry that this build does not know before any of it is applied,
// so that the state is always that after a whole entry.
func (s *State) known(e *Entry) error {
	for i := range e.Operations {
		op := &e.Operations[i]
		if len(op.Group) > 0 {
			for j := range op.Group {
				if err := s.tables.has(op.Group[j].Table, op.Group[j].Data); err != nil {
					return fmt.Errorf("operation %d: %w in a group", i, err)
				}
			}
			continue
		}
		if op.Table == SystemTable {
			if !knownSystemCommand(op.Data) {
				return fmt.Errorf("operation %d: unknown command of the state itself", i)
			}
			continue
		}
		if err := s.tables.has(op.Table, op.Data); err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return nil
}

// has returns an error for a table, or a command of it, that this build does not have.
func (ts tableSet) has(id state.TableID, data []byte) error {
	t := ts.find(id)
	if t == nil {
		return fmt.Errorf("unknown table %d", id)
	}
	if k, is := t.(state.Knower); is && !k.Knows(data) {
		return fmt.Errorf("unknown command of the table %q", t.Name())
	}
	return nil
}

// errHalted is this replica's error for an operation that other replicas may apply.
func errHalted(halt error) error {
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "operation: this agent cannot apply it, others may have done so: %v", halt).WithCause(halt)
}

// panicked is the error for a panic of a table. Its stack is only logged.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("a table panicked: %v", p.value) }

// run applies s.entry. The error is why this replica must halt.
func (s *State) run(l *raft.Log, results []state.Result) (err error) {
	if err := s.known(&s.entry); err != nil {
		return err
	}
	s.tables.lock()
	defer s.tables.unlock()
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{value: p, stack: debug.Stack()}
		}
	}()
	m := *s.at.Load()
	t := &s.turn
	s.present, s.compared = ComparedEntry{l.Index, l.Term}, false
	t.Begin(m.revision, max(m.now, s.entry.Stamp), s.entry.Wall)
	s.system.records.age(t.Now)
	s.system.dropStale(t.Now)
	s.tick(t)
	for i := range s.entry.Operations {
		results[i] = s.one(t, &s.entry.Operations[i])
		if u, is := results[i].Err.(unable); is {
			return u
		}
	}
	restored := m.restored != s.system.restored
	m.index, m.term, m.revision, m.now = l.Index, l.Term, t.Revision, t.Now
	m.loss, m.restored = s.system.records.loss, s.system.restored
	m.since = s.clock.Now()
	m.due, m.hasDue = s.due()
	m.identity = s.system.identity
	// The publisher keeps the events, and the scratch is used again.
	events := slices.Clone(t.Events())
	if s.recorder != nil {
		s.recorder.Record(t.Now, t.Revision, events)
	}
	if restored {
		s.publisher.Reset(s.system.restored.To, s.system.restored.To)
	}
	s.publisher.Publish(events, t.Revision)
	s.at.Store(&m)
	if s.compared {
		s.compare(&m)
	}
	return nil
}

// tick ends what is due, in the order of the tables.
func (s *State) tick(t *state.Turn) {
	left := limits.MaxEndings
	for _, table := range s.tables {
		if left == 0 {
			return
		}
		if due, ok := table.Due(); !ok || due > t.Now {
			continue
		}
		t.Table = table.ID()
		first := len(t.Events())
		left -= table.Tick(t, left)
		s.follow(t, first)
	}
}

// one applies one operation, or replays its record, or refuses it.
func (s *State) one(t *state.Turn, op *state.Operation) (res state.Result) {
	switch {
	case op.Table == SystemTable && len(op.Group) == 0:
		res = s.systemOperation(t, op)
	case op.RequestID == "":
		res = s.do(t, op)
	default:
		res = s.once(t, op)
	}
	if res.Err != nil && res.Revision == 0 {
		res.Revision = t.Revision
	}
	return res
}

// once applies an operation that has a request id.
func (s *State) once(t *state.Turn, op *state.Operation) state.Result {
	ticket, res, done := s.system.records.admit(op, t.Now, s.tables)
	if done {
		return res
	}
	before := t.Revision
	if res = s.do(t, op); res.Err == nil && t.Revision > before {
		s.system.records.keep(ticket, op, t.Now, &res, s.tables)
	}
	return res
}

// do applies an operation whose result no mark or record determines.
func (s *State) do(t *state.Turn, op *state.Operation) state.Result {
	if op.Fence != (interrex.Fence{}) && (s.fencer == nil || !s.fencer.Holds(op.Fence.Key, op.Fence.Token)) {
		return refuse(op, errFence(op))
	}
	if len(op.Group) > 0 {
		return s.group(t, op)
	}
	table := s.tables.find(op.Table)
	c, err := table.Decode(op.Data)
	if err == nil {
		err = table.Check(t.Now, c)
	}
	if err != nil {
		return refuse(op, err)
	}
	if i, is := table.(state.Idler); is {
		if reply, idle := i.Idle(c); idle {
			return state.Result{Reply: reply, Revision: t.Revision, Attempt: op.Attempt}
		}
	}
	t.Table, t.Minted = op.Table, op.Minted
	t.Next()
	first := len(t.Events())
	// A table may take more revisions: a claim of an overdue lease first ends that.
	// The last revision is the operation's, which is the token of a grant.
	reply := table.Apply(t, c)
	res := state.Result{Reply: reply, Revision: t.Revision, Attempt: op.Attempt}
	s.follow(t, first)
	return res
}

func errFence(op *state.Operation) error {
	return interrex.Errorf(interrex.ErrNotHeld, "fence: %s is not held under token %d", op.Fence.Key, op.Fence.Token)
}

// follow passes the events from first on to the tables that are Followers, in their
// order; each also sees the events that those before it have added.
func (s *State) follow(t *state.Turn, first int) {
	if first == len(t.Events()) {
		return
	}
	for _, table := range s.tables {
		if f, ok := table.(state.Follower); ok {
			t.Table = table.ID()
			f.Follow(t, slices.Clip(t.Events()[first:]))
		}
	}
}
