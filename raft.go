package interrex

import "time"

// The kinds of the events of an agent's own raft, as observers see them. They are not in
// the log, and have no revision.
const (
	RaftStateChanged     = "raft.state_changed"
	RaftLeaderChanged    = "raft.leader_changed"
	RaftPeerAdded        = "raft.peer_added"
	RaftPeerRemoved      = "raft.peer_removed"
	RaftPeerChanged      = "raft.peer_changed"      // promoted or demoted
	RaftHeartbeatFailed  = "raft.heartbeat_failed"  // on the leader: a follower no longer answers
	RaftHeartbeatResumed = "raft.heartbeat_resumed" // on the leader: it answers again
)

// RaftEvent is the value of these events. The key of an event about a peer is its ID.
type RaftEvent struct {
	// What this agent's raft is then: "follower", "candidate", "leader" or "shutdown";
	// the leader that it knows, empty: none; and its term.
	State    string
	LeaderID string
	Term     uint64
	// Voter reports whether the peer has a vote, or had one when it was removed.
	Voter bool
	// LastContact is when the leader last heard of a follower that no longer answers.
	LastContact time.Time
}
