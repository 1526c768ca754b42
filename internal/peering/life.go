package peering

import (
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/peerlogs"
)

// ErrNotNow refuses a connection because its target is not running at the moment.
var ErrNotNow = inbound.ErrNotNow

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
}

// remembered returns r in the form that is sent to another agent.
func remembered(r *peerlogs.Remembered) *Remembered {
	if r == nil {
		return nil
	}
	return &Remembered{Incarnation: r.Incarnation, Stored: Place(r.Stored), In: r.In, Term: r.Term}
}

// ofLog returns what a hello says of the log.
func (h Hello) ofLog() peerlogs.Hello {
	return peerlogs.Hello{
		ID: h.ID, Incarnation: h.Incarnation, Life: h.Log.Life, Term: h.Log.Term, End: peerlogs.Place(h.Log.End), Since: h.Log.Since,
	}
}

// Life is what a transport needs to know of one life of raft. None of its methods
// blocks, except Met.
type Life interface {
	// Log describes the log, for hellos.
	Log() LogState
	// OpenTo returns why an agent that Config.Accept has accepted may neither talk
	// to raft here nor forward requests to this agent; nil: it may. The error is
	// ErrNotNow while this is not known.
	OpenTo(peer Hello) error
	// MayAsk returns why an agent to which raft is open must not be asked for its vote;
	// nil: it may.
	MayAsk(peer Hello) error
	// MaySend returns why a request of raft's (a *raft.RequestVoteRequest, ...)
	// must not leave this agent; nil: it may.
	MaySend(request any) error
	// Met is called after hellos with an agent whose raft is running and to which
	// this one is open, with what that agent remembers of this one's log. It may
	// wait for the disk; until it returns, nothing of raft's passes between the two.
	Met(peer Hello, recalled *Remembered) error
	// Answer answers a request of another agent in raft's place; false: raft is to
	// answer it.
	Answer(request any) (response any, err error, answered bool)
	// Handing is called before a request, other than a heartbeat, is passed to raft.
	// If it returns a function, that is called once raft has answered, and no other
	// request reaches raft before that.
	Handing(request any) (answered func())
}

// free is a life without rules.
type free struct{}

func (free) Log() LogState                 { return LogState{} }
func (free) OpenTo(Hello) error            { return nil }
func (free) MayAsk(Hello) error            { return nil }
func (free) MaySend(any) error             { return nil }
func (free) Met(Hello, *Remembered) error  { return nil }
func (free) Answer(any) (any, error, bool) { return nil, nil, false }
func (free) Handing(any) func()            { return nil }
