// Package peerlogs owns an agent's memory of other agents' logs, across restarts, by
// which it detects that a disk was replaced by an older copy.
package peerlogs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/inbound"
)

// Store keeps what a transport remembers of other agents' logs across restarts.
type Store interface {
	// Load returns what was last saved; nil with no error: nothing was.
	Load() ([]byte, error)
	// Save replaces it atomically and durably.
	Save([]byte) error
}

// Remembered is what is known of the log on one agent's disk.
type Remembered struct {
	Incarnation string `json:"incarnation"`
	Stored      Place  `json:"stored"` // the last place that it has stored, and
	In          uint64 `json:"in"`     // the term in which that was learned
	Term        uint64 `json:"term"`   // the greatest term in which anything was learned
	// At is the cluster address at which it was last met: until its log is applied, this is
	// all that an agent that was restarted knows of where the others are.
	At string `json:"at,omitempty"`
}

// maxKnown limits how many agents are remembered; no cluster has nearly as many.
const maxKnown = 256

// Place is a place in raft's log.
type Place struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

// Hello is what an agent says of its log.
type Hello struct {
	ID, Incarnation string
	Life            string // of raft; empty: it is not running
	Term            uint64
	End             Place
	Since           uint64 // the term in which its floor was written
}

// Memory is what an agent remembers of the others' logs and lives of raft.
type Memory struct {
	mu    sync.Mutex
	of    map[string]Remembered // by ID
	lives map[string]*life      // of raft at the agents that were met, by ID
	dirty bool
}

// life is one life of raft at another agent.
type life struct {
	id     string
	term   uint64     // raft's term when it was first met
	before Remembered // what was remembered when it was first met
	met    bool
}

// Load loads what was saved.
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
		return fmt.Errorf("cannot read what is remembered of other agents' logs: %w: nothing of this agent's own data is lost, and the memory is rebuilt as they are met; if one of their disks is replaced by an older copy before that, only the other agents detect it", err)
	}
	return nil
}

// Save saves the memory if it has changed.
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

// Compare compares a hello with what was remembered before that life of raft, and
// returns what the other agent has to know; the error is set if its disk is an older
// copy.
func (m *Memory) Compare(peer Hello) (before *Remembered, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if peer.Life == "" {
		return nil, nil
	}
	is := m.turnTo(peer)
	if is.before.Term > is.term {
		return &is.before, fmt.Errorf("agent %s comes with an older copy of its disk: messages from it were received in term %d, and its disk has only term %d: it may have forgotten a vote", peer.ID, is.before.Term, is.term)
	}
	return &is.before, nil
}

// turnTo makes the life of a hello the present one. Messages of the one before no
// longer count: what is sent to the new life would not include them.
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

// begin fixes what is sent to a life of raft that was not met yet.
func (m *Memory) begin(peer Hello) *life {
	is := &life{id: peer.Life, term: peer.Term}
	known := m.of[peer.ID]
	if known.Incarnation == peer.Incarnation {
		is.before = known
	}
	is.before.Incarnation = peer.Incarnation
	if is.before.In < peer.Since { // it has had that, or removed it because of a conflict
		is.before.Stored, is.before.In = peer.End, peer.Since
	}
	return is
}

// Meet records a hello that was compared and completed. It returns an error if
// another life of raft has begun since.
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
		now, is.met = is.before, true
	}
	now.note(peer.End, peer.Since)
	now.Term = max(now.Term, peer.Term)
	m.set(peer.ID, now)
	return nil
}

// forgetAny makes room by forgetting an arbitrary agent.
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

// record records that something from an agent was received in a term and, unless
// stored is zero, that it had stored its log up to there in the term of a leader.
func (m *Memory) record(id string, term uint64, stored Place, in uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.recordLocked(id, term, stored, in)
}

func (m *Memory) recordLocked(id string, term uint64, stored Place, in uint64) {
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

// MeetAt records at which cluster address an agent was met; empty: it is not to be looked
// for any more.
func (m *Memory) MeetAt(id, address string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known, met := m.of[id]; met {
		known.At = address
		m.set(id, known)
	}
}

// Addresses returns the cluster addresses at which agents were last met, by ID.
func (m *Memory) Addresses() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]string{}
	for id, r := range m.of {
		if r.At != "" && inbound.CheckAddress(r.At) == nil {
			all[id] = r.At
		}
	}
	return all
}

// Of returns what is remembered of an agent; false: nothing.
func (m *Memory) Of(id string) (Remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, known := m.of[id]
	return r, known
}

// Life returns the life of raft with which an agent was last met.
func (m *Memory) Life(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if is := m.lives[id]; is != nil {
		return is.id
	}
	return ""
}

// Current returns the result of a read from a stream, or ErrEarlierLife if the
// stream is of a life of raft that is over. Streams of other kinds have no life.
func (m *Memory) Current(peer, life string, n int, err error) (int, error) {
	if n > 0 && life != "" && m.Life(peer) != life {
		return 0, inbound.ErrEarlierLife
	}
	return n, err
}

// HearRequest records a request of raft's from another agent. Pre-votes do not
// count: raft requests them in a term that it has not stored.
func (m *Memory) HearRequest(request any) {
	switch r := request.(type) {
	case *raft.AppendEntriesRequest:
		m.record(string(r.ID), r.Term, endOf(r), r.Term)
	case *raft.InstallSnapshotRequest:
		m.record(string(r.ID), r.Term, Place{r.LastLogTerm, r.LastLogIndex}, r.Term)
	case *raft.RequestVoteRequest:
		m.record(string(r.ID), r.Term, Place{}, 0)
	}
}

// HearAnswer records an agent's answer to a request of raft's, unless the request
// was to an earlier life of raft than the present one; an empty life is the first.
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
		m.recordLocked(id, a.Term, stored, r.Term)
	case *raft.InstallSnapshotResponse:
		r, stored := request.(*raft.InstallSnapshotRequest), Place{}
		if a.Success && a.Term == r.Term {
			stored = Place{r.LastLogTerm, r.LastLogIndex}
		}
		m.recordLocked(id, a.Term, stored, r.Term)
	case *raft.RequestVoteResponse:
		m.recordLocked(id, a.Term, Place{}, 0)
	}
	return nil
}

// endOf returns the place up to which an append makes logs equal; zero for a
// heartbeat.
func endOf(r *raft.AppendEntriesRequest) Place {
	if n := len(r.Entries); n > 0 {
		return Place{r.Entries[n-1].Term, r.Entries[n-1].Index}
	}
	return Place{r.PrevLogTerm, r.PrevLogEntry}
}
