package interrex

// Leadership is one agent's view of the cluster's leader.
type Leadership struct {
	// Term is the newest raft term that this agent knows of; it never decreases.
	Term uint64
	// LeaderID is the leader's agent ID; empty: unknown.
	LeaderID string
	// LeaderAddress is the leader's API address; empty: unknown.
	LeaderAddress string
	// Leader reports whether this agent leads.
	Leader bool
	// Ready reports whether this agent leads and has applied every entry of its
	// predecessors, so that its state is authoritative.
	Ready bool
}
