package interrex

import "time"

// FSM is an embedder's state machine, on bytes. All agents of a cluster have the same
// one, and apply the same commands in the same order. What Apply does and returns must
// depend only on the machine's state and the command: not on a clock, a random number,
// the order of a map, or a file. interrextest.CheckFSM finds such faults.
//
// The methods are called one at a time. While one runs, everything on this agent waits,
// leases too: 1 ms is long for Apply, 50 ms for Snapshot. They must return, and must not
// call the agent. The machine needs its own lock if the program reads it concurrently.
type FSM interface {
	// Apply executes one command, and returns its result, of at most 1 MiB less 4 KiB,
	// or its refusal. Either is stored, and returned again for a repeated request. An
	// *Error keeps its kind and its message; any other error becomes ErrConflict with
	// its text, and so does a kind that means that nothing has happened. What was
	// changed before an error stays changed. The result is copied. A panic stops the
	// machine on this agent.
	Apply(c FSMCommand) (result []byte, err error)
	// Snapshot returns the whole state, of at most 256 MiB; equal states must return
	// equal bytes. They are copied. After an error or a panic there is no snapshot: the
	// log is kept and grows, and the snapshot is retried later.
	Snapshot() ([]byte, error)
	// Restore replaces the whole state by one that Snapshot returned; the machine may
	// keep the bytes. It is also called while the machine is in use. After an error or
	// a panic the machine is stopped on this agent.
	Restore(snapshot []byte) error
}

// FSMCommand is one command, at its place in the log. The machine may keep and change
// it.
type FSMCommand struct {
	// Data is what was proposed.
	Data []byte
	// Revision is unique to the command, and rises with each.
	Revision Revision
	// Time is cluster time, which never goes back: use it to decide when something
	// ends. Wall is the leader's clock, for display. Both are the same on every agent.
	Time time.Duration
	Wall time.Time
}

// FSMEvent is the value of the event "fsm.applied", which each command publishes. It
// does not contain the machine's answer, so it is the same on every agent.
type FSMEvent struct {
	Data []byte `json:"data"` // the command; must not be modified
}
