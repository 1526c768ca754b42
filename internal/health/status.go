package health

import (
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wording"
)

// Status returns what is known without asking another agent.
func (h *Health) Status() interrex.Status {
	v := h.look()
	status := interrex.Status{
		ID: v.ID, ClusterID: v.ClusterID, Draining: v.Draining, Alarms: h.alarms.Current(),
		State: interrex.Stopped, Uptime: v.At.Sub(v.Started),
		Comparison: v.Comparison,
		APIAddress: v.AdvertisedAPI, Quorum: v.withoutRaft().Error(),
	}
	if v.Draining {
		status.State = interrex.Stopping
	}
	if v.Forwards && !v.Draining {
		status.State, status.Quorum = interrex.Forwarding, v.forwarding()
	}
	if v.Gateway != nil {
		status.ClusterID, status.LeaderID = v.Gateway.Cluster().ID, v.Gateway.Told().LeaderID
	}
	if v.Waits != "" {
		status.State = interrex.Waiting
	}
	if r := v.Running(); r != nil {
		v.raftStatus(&status, r)
	}
	return status
}

func (v View) raftStatus(status *interrex.Status, r *raft.Raft) {
	leads := r.State() == raft.Leader
	status.State = map[raft.RaftState]interrex.AgentState{
		raft.Follower: interrex.Follower, raft.Candidate: interrex.Candidate, raft.Leader: interrex.Leader, raft.Shutdown: status.State,
	}[r.State()]
	if heard := r.LastContact(); !leads && !heard.IsZero() {
		status.LastContact = time.Since(heard)
	}
	_, leader := r.LeaderWithID()
	status.LeaderID, status.Log = string(leader), v.log(r)
	status.Members = v.Members()
	switch {
	case len(status.Members) > 0:
	case v.Config.Cluster.BootstrapExpect > 1:
		status.State = interrex.Waiting
	default:
		status.State = interrex.Standalone
	}
	status.Quorum = quorum(status.Members, leads)
	if waits := v.waits(); waits != "" {
		status.Quorum = waits
	}
}

// log returns how far raft's log has come.
func (v View) log(r *raft.Raft) interrex.LogStatus {
	stats := r.Stats()
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(stats[name], 10, 64) // raft writes nothing else
		return n
	}
	l := interrex.LogStatus{
		Term: r.CurrentTerm(), CommitIndex: r.CommitIndex(),
		LastIndex: number("last_log_index"), LastTerm: number("last_log_term"),
	}
	if at := number("last_snapshot_index"); at > l.LastIndex {
		l.LastIndex, l.LastTerm = at, number("last_snapshot_term")
	}
	if store, err := v.Raft.LogStore(); err == nil {
		l.FirstIndex, _ = store.FirstIndex() // 0 when it has just been closed
	}
	if v.State != nil {
		l.AppliedIndex, _ = v.State.Applied()
	}
	return l
}

// quorum says in words how many failures are tolerated.
func quorum(members []interrex.Member, leads bool) string {
	voters, well, leader := 0, 0, ""
	for _, m := range members {
		if m.Leader {
			leader = m.ID
		}
		if m.Suffrage != voter {
			continue
		}
		voters++
		if !m.Silent && m.Refusal == "" {
			well++
		}
	}
	need, all := voters/2+1, wording.Count(voters, "voter")
	switch {
	case voters == 0:
		return "no members yet"
	case !leads && leader == "":
		return fmt.Sprintf("%s, no leader known: %d must be able to reach each other", all, need)
	case voters == 1 && leads:
		return "1 voter, this agent: tolerates no failure"
	case well < need:
		return fmt.Sprintf("%s, %d responding: quorum lost", all, well)
	}
	text := fmt.Sprintf("%s, %d responding, tolerates %s%s", all, well, failures(well-need), even(voters, well))
	if !leads {
		text += ", led by " + leader
	}
	return text
}

// even says, where an even number of voters responds, that one of them makes no
// difference, and what to do about it; else it is empty.
func even(voters, well int) string {
	if voters%2 == 1 || well < voters {
		return ""
	}
	text := fmt.Sprintf(" (as %s would; ", wording.Count(voters-1, "voter"))
	if voters < limits.MaxVoters {
		return text + fmt.Sprintf("join or promote one more agent to tolerate %s)", failures(voters/2))
	}
	return text + "demote one to write to fewer disks)"
}

func failures(n int) string {
	if n == 0 {
		return "no failure"
	}
	return wording.Count(n, "failure")
}
