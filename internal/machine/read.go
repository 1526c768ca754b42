package machine

import (
	"context"
	"fmt"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Revision returns the state's revision.
func (s *State) Revision() interrex.Revision { return s.at.Load().revision }

// Floor returns the revision before which no feed reaches, because what precedes
// it is another history; 0 if there is none.
func (s *State) Floor() interrex.Revision { return s.at.Load().floor }

// Applied returns the log index and term of the last entry that is in the state.
// raft's own count may be higher: see Passed.
func (s *State) Applied() (index, term uint64) {
	m := s.at.Load()
	return m.index, m.term
}

// Now returns cluster time as of the last entry.
func (s *State) Now() state.Time { return s.at.Load().now }

// NewestStamp returns cluster time as of the last entry, and when, by this
// agent's clock, that entry was applied.
func (s *State) NewestStamp() (stamp state.Time, applied time.Time) {
	m := s.at.Load()
	return m.now, m.since
}

// Estimate returns an estimate of cluster time: that of the last entry plus this
// agent's time since it was applied; and its wall clock. It is for display only.
func (s *State) Estimate() (now state.Time, wall time.Time) {
	m := s.at.Load()
	wall = s.clock.Now()
	return m.now.Add(max(0, wall.Sub(m.since))), wall
}

// Due returns the earliest cluster time at which a table wants a tick, as of the
// last entry; false if none does, or the replica has halted.
func (s *State) Due() (state.Time, bool) {
	if s.Halted() != nil {
		return 0, false
	}
	m := s.at.Load()
	return m.due, m.hasDue
}

// Waitable returns the table whose operations may wait for one another; nil if
// there is none.
func (s *State) Waitable() state.Waitable { return s.waitable }

// ClusterID returns the ID of the cluster that the state belongs to; empty: of none yet.
func (s *State) ClusterID() string { return s.at.Load().identity.ClusterID }

// Identity returns the state's history. It never waits for an entry.
func (s *State) Identity() Identity { return s.at.Load().identity.clone() }

// Recorded reports whether a mark or a record, or that there is none, determines the
// reply to op, and returns it. Only a leader may call it, for a waiting claim at every
// retry: to others a record may be new.
func (s *State) Recorded(op *state.Operation) (state.Result, bool) {
	if op.RequestID == "" {
		return state.Result{}, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	tables := s.tables.of(op)
	tables.lock()
	defer tables.unlock()
	r, ref := s.system.records, s.tables.refer(op)
	res, found := r.settled(op, ref, r.find(op, ref), s.Now(), s.tables)
	if res.Err != nil && res.Revision == 0 {
		res.Revision = s.Revision()
	}
	return res, found
}

// DroppedNames returns how many names this agent has dropped since it started.
func (s *State) DroppedNames() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.system.records.names.gone
}

// Over returns the result of an operation that can no longer change anything, whatever
// the log holds beyond this state: the state has reached the revision of its name, or of
// the token that it needs, and has it no more. Any agent may say so: what was is in this
// state, and what is gone never comes back.
func (s *State) Over(op *state.Operation, c state.Command) (res state.Result, over bool) {
	var token interrex.Fence
	if t, is := c.(Tokened); is {
		token.Key, token.Token = t.Shows()
	}
	numbered := op.RequestID != "" && op.Mark > 0
	if !numbered && op.Fence.Token == 0 && token.Token == 0 {
		return res, false
	}
	s.mu.RLock() // not those of the tables, which only an Apply changes
	defer s.mu.RUnlock()
	err := s.over(op, c, token)
	return state.Result{Attempt: op.Attempt, Err: err, Revision: s.Revision()}, err != nil
}

func (s *State) over(op *state.Operation, c state.Command, token interrex.Fence) error {
	r, at := s.system.records, s.at.Load()
	if op.RequestID != "" {
		ref := s.tables.refer(op)
		if !ref.numbered || ref.name.revision > at.revision {
			return nil // only the log knows whether it was done
		}
		n := r.names.find(op.Caller, ref.name)
		if n == nil {
			return errGone(op, r.names.lost)
		}
		if _, found := n.records.find(ref.number); found || ref.number < max(n.mark, op.Mark) {
			return nil
		}
	}
	gone := func(f interrex.Fence) bool {
		return f.Token != 0 && s.fencer != nil && interrex.Revision(f.Token) <= at.revision && !s.fencer.Holds(f.Key, f.Token)
	}
	switch {
	case gone(op.Fence):
		return errFence(op)
	case gone(token):
		return s.tables.find(op.Table).Check(at.now, c)
	}
	return nil
}

// WaitApplied waits until everything up to a log index is in the state. The error
// is ErrTimeout if ctx ends first, ErrOverloaded if MaxWaiters already wait,
// ErrUnavailable if the state is closed or halted.
func (s *State) WaitApplied(ctx context.Context, index uint64) error {
	if err := s.Halted(); err != nil {
		return err
	}
	return s.applied.wait(ctx, index, func() uint64 {
		return max(s.at.Load().index, s.passed.Load())
	})
}

// WaitRevision waits until the state has reached a revision. Its errors are those
// of WaitApplied.
func (s *State) WaitRevision(ctx context.Context, r interrex.Revision) error {
	if err := s.Halted(); err != nil {
		return err
	}
	return s.revision.wait(ctx, uint64(r), func() uint64 { return uint64(s.Revision()) })
}

// Knows reports whether the table exists here: an entry for an unknown one
// would halt every replica.
func (s *State) Knows(table state.TableID) bool {
	return table == SystemTable || s.tables.find(table) != nil
}

// Versions returns the version of each table's encoding, by the table's name
// and number: "counters(256)".
func (s *State) Versions() map[string]uint16 {
	versions := make(map[string]uint16, len(s.tables))
	for _, t := range s.tables {
		versions[fmt.Sprintf("%s(%d)", t.Name(), t.ID())] = t.Version()
	}
	return versions
}

// AppendReply appends the encoding of a table's reply. The error is ErrInvalid
// for a table that is not known here.
func (s *State) AppendReply(b []byte, table state.TableID, r state.Reply) ([]byte, error) {
	t := s.tables.find(table)
	if t == nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "operation: unknown table %d", table)
	}
	return t.AppendReply(b, r), nil
}

// Decode decodes an operation's data for a table, which may be SystemTable. The
// error is the table's, or ErrInvalid for an unknown table or an unknown
// operation of the state's own.
func (s *State) Decode(table state.TableID, data []byte) (state.Command, error) {
	if table == SystemTable {
		return decodeSystemCommand(data)
	}
	t := s.tables.find(table)
	if t == nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "operation: unknown table %d", table)
	}
	return t.Decode(data)
}
