package transport

import "github.com/interrex/interrex/internal/port"

// ErrNotNow refuses a connection for what does not run yet, or no more.
var ErrNotNow = port.ErrNotNow

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
