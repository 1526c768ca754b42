package leaseapplier_test

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// sharedLog is the log of a cluster whose leaders come and go, with just as
// much of raft as an applier can see. One leader at most can commit; others may
// believe for a while that they still lead.
type sharedLog struct {
	rules *rules
	rnd   *rand.Rand
	seen  int // entries that were applied somewhere

	mu        sync.Mutex
	committed [][]byte // nil: a barrier
	term      uint64
	leader    *member // that can commit; nil: none
	calm      bool    // everything is quick
}

// member is one agent's view of the log: its leaseapplier.Raft.
type member struct {
	log   *sharedLog
	id    string
	state *machine.State
	wake  chan struct{}
	stop  chan struct{}
	told  func() // who leads has changed

	// Guarded by sharedLog.mu.
	role    raft.RaftState
	term    uint64
	leader  string
	pending []*appending
	applied int
}

// appending is an entry that its leader has not answered.
type appending struct {
	data     []byte
	requests map[string]uint32 // attempts by request id
	index    uint64
	err      error
	response any
	done     chan struct{}
}

func (a *appending) Error() error  { <-a.done; return a.err }
func (a *appending) Response() any { return a.response }
func (a *appending) Index() uint64 { return a.index }

func (m *member) State() raft.RaftState { m.log.mu.Lock(); defer m.log.mu.Unlock(); return m.role }
func (m *member) CurrentTerm() uint64   { m.log.mu.Lock(); defer m.log.mu.Unlock(); return m.term }
func (m *member) LeaderWithID() (raft.ServerAddress, raft.ServerID) {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	return raft.ServerAddress(m.leader), raft.ServerID(m.leader)
}
func (m *member) Apply(b []byte, _ time.Duration) raft.ApplyFuture { return m.append(b) }
func (m *member) Barrier(time.Duration) raft.Future                { return m.append(nil) }

func (m *member) append(b []byte) *appending {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	a := &appending{data: b, done: make(chan struct{}), requests: map[string]uint32{}}
	if m.role != raft.Leader {
		a.err = raft.ErrNotLeader
		close(a.done)
		return a
	}
	if b != nil {
		var e machine.Entry
		err := e.Decode(b)
		if err != nil {
			panic(err)
		}
		for _, op := range e.Operations {
			a.requests[op.RequestID] = max(a.requests[op.RequestID], op.Attempt)
		}
	}
	m.pending = append(m.pending, a)
	poke(m.wake)
	return a
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run commits what this member has as the leader, and follows otherwise.
func (m *member) run() {
	for {
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-m.stop:
			timer.Stop()
			return
		case <-m.wake:
		case <-timer.C:
			m.catchUp()
		}
		timer.Stop()
		for m.commit() {
		}
	}
}

func (m *member) catchUp() {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	if m.role != raft.Leader {
		m.apply(len(m.log.committed))
	}
}

func (m *member) commit() bool {
	m.log.mu.Lock()
	if m.log.leader != m || len(m.pending) == 0 {
		m.log.mu.Unlock()
		return false
	}
	latency := time.Duration(1+m.log.rnd.IntN(20)) * time.Millisecond
	if !m.log.calm && m.log.rnd.IntN(10) == 0 {
		latency = time.Duration(m.log.rnd.IntN(1500)) * time.Millisecond
	}
	m.log.mu.Unlock()
	time.Sleep(latency)
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	if m.log.leader != m || len(m.pending) == 0 {
		return false
	}
	a := m.pending[0]
	m.log.committed = append(m.log.committed, a.data)
	a.response = m.apply(len(m.log.committed))
	a.index = uint64(len(m.log.committed))
	m.pending = m.pending[1:]
	close(a.done)
	return true
}

// apply brings the member's state to a place in the log. The lock is held.
func (m *member) apply(to int) (last any) {
	for ; m.applied < to; m.applied++ {
		last = nil
		b := m.log.committed[m.applied]
		if b == nil {
			continue
		}
		last = m.state.Apply(&raft.Log{Index: uint64(m.applied + 1), Term: 1, Type: raft.LogCommand, Data: b})
		if m.applied >= m.log.seen {
			m.log.seen = m.applied + 1
			var e machine.Entry
			_ = e.Decode(b)
			m.log.rules.applied(e.Operations, last.([]state.Result))
		}
	}
	return last
}

// lose ends the leadership of whoever can commit. Of what is in its log a part
// survives. It may be told later.
func (l *sharedLog) lose(told time.Duration) {
	l.mu.Lock()
	m := l.leader
	if m == nil {
		l.mu.Unlock()
		return
	}
	l.leader = nil
	for _, a := range m.pending[:l.rnd.IntN(len(m.pending)+1)] {
		l.committed = append(l.committed, a.data)
	}
	l.mu.Unlock()
	time.AfterFunc(told, m.deposed)
}

// deposed is what a leader that was cut off learns at last.
func (m *member) deposed() {
	m.log.mu.Lock()
	if m.log.leader != m {
		m.follow()
	}
	m.log.mu.Unlock()
	m.told()
}

// follow makes a follower. The lock is held.
func (m *member) follow() {
	m.role, m.term, m.leader = raft.Follower, m.log.term, ""
	if m.log.leader != nil {
		m.leader = m.log.leader.id
	}
	for _, a := range m.pending {
		a.err = raft.ErrLeadershipLost
		close(a.done)
	}
	m.pending = nil
}

// elect lets a member lead. The others learn of it unless they believe that
// they lead themselves.
func (l *sharedLog) elect(m *member, all []*member) {
	l.mu.Lock()
	l.term++
	m.follow()
	l.leader = m
	m.role, m.term, m.leader = raft.Leader, l.term, m.id
	for _, o := range all {
		if o != m && o.role != raft.Leader {
			o.follow()
		}
	}
	l.mu.Unlock()
	for _, o := range all {
		o.told()
	}
}

// inLog reports whether an attempt of a request is in this leader's log and not
// applied, and the newest such attempt.
func (m *member) inLog(id string) (attempt uint32, found bool) {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	for _, a := range m.pending {
		if n, has := a.requests[id]; has {
			attempt, found = max(attempt, n), true
		}
	}
	return attempt, found
}

// tap is a queue that listens to what its operations are answered.
type tap struct {
	*queue.Queue
	m *member
}

func (t tap) Take(maxOps, maxBytes int) []*queue.Operation {
	ops := t.Queue.Take(maxOps, maxBytes)
	for _, op := range ops {
		if op.RequestID == "" {
			continue
		}
		t.m.log.rules.taken(op)
		done := op.Done
		op.Done = func(r state.Result) {
			attempt, found := t.m.inLog(op.RequestID)
			t.m.log.rules.answered(op, r, attempt, found)
			done(r)
		}
	}
	return ops
}

// publisher sees what happens, once.
type publisher struct {
	machine.Publisher
	rules *rules
}

func (p publisher) Publish(events []state.Event, last interrex.Revision) {
	for _, e := range events {
		if r, is := e.Value.(lease.Record); is {
			p.rules.event(e.Kind, e.Revision, r)
		}
	}
	p.Publisher.Publish(events, last)
}
