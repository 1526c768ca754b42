package interrex

import (
	"fmt"
	"time"
)

// AgentState is what an agent is in its cluster.
type AgentState int

// The states of an agent.
const (
	Follower AgentState = iota
	Candidate
	Leader
	Standalone // it has no cluster yet, and makes none by itself
	Stopping   // it was asked to stop, and raft does not run any more
	Stopped    // it, or its raft, does not run
	Waiting    // for the first members of its cluster, or to be let in
	Forwarding // it runs without raft
)

var states = [...]string{"follower", "candidate", "leader", "standalone", "stopping", "stopped", "waiting", "forwarding"}

// String returns the state as the API writes it: follower.
func (s AgentState) String() string {
	if s < 0 || int(s) >= len(states) {
		return fmt.Sprintf("AgentState(%d)", int(s))
	}
	return states[s]
}

// Status is what an agent knows of itself, its log and its cluster, without
// contacting another one.
type Status struct {
	ID        string // empty before its first start, when it is not configured
	State     AgentState
	ClusterID string // that the disk remembers; empty: none
	Draining  bool   // it stops politely, and answers still
	LeaderID  string // empty: none is known here
	Log       LogStatus
	// LastContact is the time since this agent last heard from the leader; 0 on the
	// leader itself.
	LastContact time.Duration
	// Members are those that raft goes by now.
	Members []Member
	Quorum  string // in words: what may still fail
	// Comparison is the newest comparison of the members' states that this agent has
	// taken part in since it was started; nil: there was none.
	Comparison *Comparison
	Alarms     []Alarm
	Uptime     time.Duration
	APIAddress string
}

// LogStatus is how far an agent's log has come; all zero while raft does not run.
type LogStatus struct {
	Term uint64 // the newest that the agent knows of
	// FirstIndex is that of the oldest entry that is kept; 0: none is, and what
	// was in them is in the snapshot.
	FirstIndex uint64
	// LastIndex and LastTerm are those of the newest entry, or of the snapshot
	// when that is newer.
	LastIndex    uint64
	LastTerm     uint64
	CommitIndex  uint64 // up to which this agent knows entries to be committed
	AppliedIndex uint64 // up to which its state has them
}

// Comparison is a comparison of the members' states as they were after one entry of the
// log, as one agent knows it.
type Comparison struct {
	LogIndex, Term uint64 // of the entry
	At             time.Time
	// Complete reports whether no agent's hashes are waited for any more.
	Complete bool
	Reports  map[string][]StateSection // the sections of the state, by agent
	Missing  []string                  // IDs of members without a report
	// Differences say in words which sections differ between which agents, and which of
	// them are wrong; none: the reports agree.
	Differences []string
	// Kept is where this agent keeps its files from before it was filled anew; empty: it
	// was not.
	Kept string
}

// Agreed reports whether two agents or more have compared their states, and none differs.
func (c *Comparison) Agreed() bool {
	return c != nil && c.Complete && len(c.Reports) > 1 && len(c.Differences) == 0
}

// StateSection is the SHA-256 of one section of an agent's state, in hexadecimal. Those
// of two agents are comparable if their versions are equal.
type StateSection struct {
	Name    string
	Version uint16
	Hash    string
}

// Member is one member of the cluster, as this agent sees it.
type Member struct {
	ID       string
	Address  string // where it is dialled; empty: unknown here
	Suffrage string // voter, nonvoter; empty: it is not in raft's configuration
	Leader   bool
	// NonVoter reports that it must not have a vote, Leaving that it was removed and is
	// still in raft's configuration.
	NonVoter, Leaving bool
	// Forwards reports that it runs without raft: it has no log and no vote, and forwards
	// the requests of its callers to members.
	Forwards bool
	// What is recorded of it, empty or zero until it is: of its build the version, and
	// the versions of its tables by name; of its disk the incarnation; when it became a
	// member; and at which revision this was last changed.
	Version     string
	Tables      map[string]uint32
	Incarnation string
	Added       time.Time
	Revision    Revision
	// APIAddress is where its API is; empty: unknown here.
	APIAddress string
	// LastContact is how long ago this agent last heard of it; nil: never, or it
	// is this agent itself.
	LastContact *time.Duration
	// Silent reports whether this is too long.
	Silent bool
	// Refusal says why it is not connected: it refuses this agent or this agent refuses
	// it, and why, or its port refuses connections, which is known before it has been
	// silent for long; empty: it is connected, or just does not answer.
	Refusal string
	// MatchIndex is the log index up to which it has the leader's entries, as far
	// as it has told the leader in its term. Only the leader knows it; nil
	// elsewhere.
	MatchIndex *uint64
}

// Alarm is something that is wrong now, and that an operator should know of.
type Alarm struct {
	Name    string // of the condition: lower case with dashes, the metric's label
	Subject string // whom or what it is about, such as a member's ID; may be empty
	Since   time.Time
	Text    string // what is wrong
	Do      string // what to do about it
}

// String returns name, subject and text.
func (a Alarm) String() string {
	if a.Subject == "" {
		return a.Name + ": " + a.Text
	}
	return a.Name + " " + a.Subject + ": " + a.Text
}
