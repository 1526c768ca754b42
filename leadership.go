package interrex

// Leadership is who leads the cluster, as one agent sees it.
type Leadership struct {
	// Term is the newest term of raft that this agent knows of; it only grows.
	Term uint64
	// LeaderID is the leader's agent ID; empty: none is known here.
	LeaderID string
	// LeaderAddress is the leader's API address; empty: unknown here.
	LeaderAddress string
	// Leader says that this agent leads.
	Leader bool
	// Ready says that this agent leads and has applied every entry of its
	// predecessors, so that it answers for the cluster.
	Ready bool
}
