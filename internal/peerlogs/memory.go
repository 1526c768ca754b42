// Package peerlogs owns what an agent remembers of the logs of others, over
// restarts, and of which of their lives of raft it has heard.
package peerlogs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/inbound"
)

// Store keeps what a transport remembers of other agents' logs over restarts.
type Store interface {
	// Load returns what was saved last; nil and no error: nothing was.
	Load() ([]byte, error)
	// Save replaces it, whole, and puts it on disk.
	Save([]byte) error
}

// Remembered is what was heard of the log of one agent's disk.
type Remembered struct {
	Incarnation string `json:"incarnation"`
	Stored      Place  `json:"stored"` // the greatest place that it has stored, and
	In          uint64 `json:"in"`     // the term in which that was heard
	Term        uint64 `json:"term"`   // the greatest in which it was heard at all
}

// maxKnown limits how many agents are remembered; it is far above any cluster of one
// raft log.
const maxKnown = 256

// Place is a place in raft's log.
type Place struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

// Hello is what an agent says of its log.
type Hello struct {
	ID, Incarnation string
	Life            string // of raft; empty: it does not run
	Term            uint64
	End             Place
	Since           uint64 // the term in which its floor was written
}

// Memory is what an agent remembers of the others' logs, and of which of their
// lives it has heard: it tells a disk that was put back from an older copy.
type Memory struct {
	mu    sync.Mutex
	of    map[string]Remembered // by ID
	lives map[string]*life      // of raft at the agents that were met, by ID
	dirty bool
}

// life is one life of raft at another agent.
type life struct {
	id   string
	term uint64     // with which it began to be known
	told Remembered // what was remembered before it
	met  bool
}

// Load takes up what was saved.
func (m *Memory) Load(s Store) error {
	m.of, m.lives = map[string]Remembered{}, map[string]*life{}
	if s == nil {
		return nil
	}
	b, err := s.Load()
	if err == nil && b != nil {
		err = json.Unmarshal(b, &m.of)
	}
	if err != nil || m.of == nil {
		m.of = map[string]Remembered{}
		return fmt.Errorf("cannot read what is remembered of other agents' logs: %w: nothing of this agent's own is lost, and it is remembered anew as they are met; if one of their disks is replaced by an older copy before that, only the other agents notice it", err)
	}
	return nil
}

// Save keeps what is new.
func (m *Memory) Save(s Store) error {
	m.mu.Lock()
	if !m.dirty || s == nil {
		m.mu.Unlock()
		return nil
	}
	m.dirty = false
	b, err := json.Marshal(m.of)
	m.mu.Unlock()
	if err == nil {
		err = s.Save(b)
	}
	if err != nil {
		m.mu.Lock()
		m.dirty = true
		m.mu.Unlock()
		return fmt.Errorf("cannot save what is remembered of other agents' logs: %w", err)
	}
	return nil
}

// Compare is negative when p is behind o: by term first, as raft compares the
// ends of logs.
func (p Place) Compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Term, o.Term), cmp.Compare(p.Index, o.Index))
}

// compare holds a hello against what was remembered before that life of raft,
// and returns what the other side has to know; and an error if its disk is an
// older one.
func (m *Memory) Compare(peer Hello) (told *Remembered, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if peer.Life == "" {
		return nil, nil
	}
	is := m.turnTo(peer)
	if is.told.Term > is.term {
		return &is.told, fmt.Errorf("agent %s comes with an older copy of its disk: it was heard in term %d, and its disk knows only term %d: it may have forgotten a vote", peer.ID, is.told.Term, is.term)
	}
	return &is.told, nil
}

// turnTo makes the life of a hello the one that counts. From then on nothing of
// the one before does: what is told to this one would not have it.
func (m *Memory) turnTo(peer Hello) *life {
	is, known := m.lives[peer.ID]
	if known && is.met && is.id == peer.Life {
		return is
	}
	if !known && len(m.lives) >= maxKnown {
		forgetAny(m.lives)
	}
	is = m.begin(peer)
	m.lives[peer.ID] = is
	return is
}

// begin fixes what is told to a life of raft that was not met yet.
func (m *Memory) begin(peer Hello) *life {
	is := &life{id: peer.Life, term: peer.Term}
	known := m.of[peer.ID]
	if known.Incarnation == peer.Incarnation {
		is.told = known
	}
	is.told.Incarnation = peer.Incarnation
	if is.told.In < peer.Since { // it has had that, or dropped it rightly
		is.told.Stored, is.told.In = peer.End, peer.Since
	}
	return is
}

// Meet takes up a hello that was compared and completed. Another life of raft may
// have begun since.
func (m *Memory) Meet(peer Hello) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if peer.Life == "" {
		return nil
	}
	is := m.lives[peer.ID]
	if is == nil || is.id != peer.Life {
		return inbound.ErrEarlierLife
	}
	now, known := m.of[peer.ID]
	if !known && len(m.of) >= maxKnown {
		forgetAny(m.of)
	}
	if !is.met {
		now, is.met = is.told, true
	}
	now.note(peer.End, peer.Since)
	now.Term = max(now.Term, peer.Term)
	m.set(peer.ID, now)
	return nil
}

// forgetAny makes room among more agents than any cluster has.
func forgetAny[V any](of map[string]V) {
	for id := range of {
		delete(of, id)
		return
	}
}

func (m *Memory) set(id string, r Remembered) {
	if m.of[id] != r {
		m.of[id], m.dirty = r, true
	}
}

func (r *Remembered) note(p Place, in uint64) {
	if p.Compare(r.Stored) >= 0 {
		r.Stored, r.In = p, max(r.In, in)
	}
}

// hear takes up that an agent was heard in a term; and that it has stored its
// log up to a place, unless that is zero, as was heard in the term of a leader.
func (m *Memory) hear(id string, term uint64, stored Place, in uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard(id, term, stored, in)
}

func (m *Memory) heard(id string, term uint64, stored Place, in uint64) {
	known, met := m.of[id]
	if !met {
		return
	}
	known.Term = max(known.Term, term)
	if stored != (Place{}) {
		known.note(stored, in)
	}
	m.set(id, known)
}

// Of returns what is remembered of an agent; false: nothing is.
func (m *Memory) Of(id string) (Remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, known := m.of[id]
	return r, known
}

// Life is that of raft at an agent which was met last.
func (m *Memory) Life(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if is := m.lives[id]; is != nil {
		return is.id
	}
	return ""
}

// Current lets what was read of a stream count, unless it is of a life of raft
// that is over. Streams of other kinds have none.
func (m *Memory) Current(peer, life string, n int, err error) (int, error) {
	if n > 0 && life != "" && m.Life(peer) != life {
		return 0, inbound.ErrEarlierLife
	}
	return n, err
}

// HearRequest takes up a request of raft's from another agent. Pre-votes say
// nothing: raft asks for them in a term that it has not stored.
func (m *Memory) HearRequest(request any) {
	switch r := request.(type) {
	case *raft.AppendEntriesRequest:
		m.hear(string(r.ID), r.Term, endOf(r), r.Term)
	case *raft.InstallSnapshotRequest:
		m.hear(string(r.ID), r.Term, Place{r.LastLogTerm, r.LastLogIndex}, r.Term)
	case *raft.RequestVoteRequest:
		m.hear(string(r.ID), r.Term, Place{}, 0)
	}
}

// HearAnswer takes up an agent's answer to a request of raft's, unless that went
// to an earlier life of raft there than now counts; an empty life is the first.
func (m *Memory) HearAnswer(id, life string, request, answer any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if is := m.lives[id]; life != "" && (is == nil || is.id != life) {
		return inbound.ErrEarlierLife
	}
	switch a := answer.(type) {
	case *raft.AppendEntriesResponse:
		r, stored := request.(*raft.AppendEntriesRequest), Place{}
		if a.Success && a.Term == r.Term {
			stored = endOf(r)
		}
		m.heard(id, a.Term, stored, r.Term)
	case *raft.InstallSnapshotResponse:
		r, stored := request.(*raft.InstallSnapshotRequest), Place{}
		if a.Success && a.Term == r.Term {
			stored = Place{r.LastLogTerm, r.LastLogIndex}
		}
		m.heard(id, a.Term, stored, r.Term)
	case *raft.RequestVoteResponse:
		m.heard(id, a.Term, Place{}, 0)
	}
	return nil
}

// endOf is the place up to which an append makes logs equal; zero for a
// heartbeat.
func endOf(r *raft.AppendEntriesRequest) Place {
	if n := len(r.Entries); n > 0 {
		return Place{r.Entries[n-1].Term, r.Entries[n-1].Index}
	}
	return Place{r.PrevLogTerm, r.PrevLogEntry}
}
