package transport

import (
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/peerlogs"
)

// ErrNotNow refuses a connection for what does not run yet, or no more.
var ErrNotNow = inbound.ErrNotNow

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

// remembered returns what another agent is told.
func remembered(r *peerlogs.Remembered) *Remembered {
	if r == nil {
		return nil
	}
	return &Remembered{Incarnation: r.Incarnation, Stored: Place(r.Stored), In: r.In, Term: r.Term}
}

// ofLog is what a hello says of the log.
func (h Hello) ofLog() peerlogs.Hello {
	return peerlogs.Hello{
		ID: h.ID, Incarnation: h.Incarnation, Life: h.Log.Life, Term: h.Log.Term, End: peerlogs.Place(h.Log.End), Since: h.Log.Since,
	}
}

// Life is one life of raft, as its transport must know it. None of its methods
// blocks.
type Life interface {
	// Log tells how the log is, for hellos.
	Log() LogState
	// OpenTo says why raft here is not open to an agent, which Config.Accept has
	// let in, nor this agent to requests that it forwards; nil: it is. It is an ErrNotNow while that is not known.
	OpenTo(peer Hello) error
	// MaySend says why a request of raft's (a *raft.RequestVoteRequest, ...) must
	// not leave this agent; nil: it may.
	MaySend(request any) error
	// Met is told of an agent, whose raft runs and to which this one is open, with
	// which hellos were exchanged, and what that remembers of this one's log. It
	// may wait for the disk; nothing of raft's passes between the two before.
	Met(peer Hello, told *Remembered) error
	// Answer answers a request of another agent in raft's place; false: raft
	// shall answer it.
	Answer(request any) (response any, err error, answered bool)
	// Handing is told of a request that raft is about to get, heartbeats apart. If
	// it returns a function, that is called once raft has answered, and no other
	// request reaches raft before.
	Handing(request any) (answered func())
}

// free is a life that is under no rule.
type free struct{}

func (free) Log() LogState                 { return LogState{} }
func (free) OpenTo(Hello) error            { return nil }
func (free) MaySend(any) error             { return nil }
func (free) Met(Hello, *Remembered) error  { return nil }
func (free) Answer(any) (any, error, bool) { return nil, nil, false }
func (free) Handing(any) func()            { return nil }
