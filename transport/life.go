package transport

// Life is one life of raft, as its transport must know it. None of its methods
// blocks.
type Life interface {
	// Progress tells how far this replica has come: the index of the newest entry
	// that it has applied, and its term. Before raft runs both are 0.
	Progress() (applied, term uint64)
	// Log tells how the log is, for hellos.
	Log() LogState
	// OpenTo says why raft here is not open to an agent, which Config.Accept has
	// let in; nil: it is. It is an ErrNotNow while that is not known.
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
}

// free is a life that is under no rule.
type free struct{}

func (free) Progress() (applied, term uint64) { return 0, 0 }
func (free) Log() LogState                    { return LogState{} }
func (free) OpenTo(Hello) error               { return nil }
func (free) MaySend(any) error                { return nil }
func (free) Met(Hello, *Remembered) error     { return nil }
func (free) Answer(any) (any, error, bool)    { return nil, nil, false }
