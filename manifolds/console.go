package manifolds

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
)

// console shows the agent to its operators, and takes their commands; it is the
// API's view of it.
type console struct {
	set    *Set
	engine dependency.Reporter
}

// Report is the dependency engine's: see Set.Report.
func (c console) Report() map[string]any { return c.set.Report(c.engine) }

// Config is the effective configuration.
func (c console) Config() (string, error) {
	current, _ := c.set.configuration.Current()
	text, err := InForce(current).YAML()
	return string(text), err
}

// Reload takes up the configuration file.
func (c console) Reload(ctx context.Context) ([]string, error) { return c.set.Reload(ctx) }

// Drain stops the agent politely.
func (c console) Drain(ctx context.Context) error {
	if c.set.config.Agent.Drain == nil {
		return interrex.Errorf(interrex.KindDisabled, "cannot drain: the engine that this agent runs in belongs to another program, stop that one")
	}
	return c.set.config.Agent.Drain(ctx)
}

// Status is what is known without asking anybody.
func (c console) Status() interrex.Status {
	now, draining := c.set.view(), c.set.draining.Load() != nil
	status := interrex.Status{
		ID: c.set.ID(), Draining: draining, Alarms: c.set.alarms.Current(),
		State: interrex.Stopped, Uptime: c.set.config.Agent.Clock.Now().Sub(c.set.started),
		APIAddress: c.set.advertisedAPI(), Quorum: c.set.withoutRaft().Error(),
	}
	if draining {
		status.State = interrex.Stopping
	}
	if now.dir != nil {
		status.ClusterID = now.dir.ClusterID
	}
	if r := now.running(); r != nil {
		c.raftStatus(&status, r, now)
	}
	return status
}

func (c console) raftStatus(status *interrex.Status, r *raft.Raft, now view) {
	leads := r.State() == raft.Leader
	status.State = map[raft.RaftState]interrex.AgentState{
		raft.Follower: interrex.Follower, raft.Candidate: interrex.Candidate, raft.Leader: interrex.Leader, raft.Shutdown: status.State,
	}[r.State()]
	if heard := r.LastContact(); !leads && !heard.IsZero() {
		status.LastContact = time.Since(heard)
	}
	_, leader := r.LeaderWithID()
	status.LeaderID, status.Log = string(leader), now.log(r)
	status.Members = c.set.members(now)
	switch {
	case len(status.Members) > 0:
	case c.set.section().Cluster.BootstrapExpect > 1:
		status.State = interrex.Waiting
	default:
		status.State = interrex.Standalone
	}
	status.Quorum = quorum(status.Members, leads)
}

// log says how far raft's log has come.
func (v view) log(r *raft.Raft) interrex.LogStatus {
	stats := r.Stats()
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(stats[name], 10, 64) // raft writes no other
		return n
	}
	l := interrex.LogStatus{
		Term: r.CurrentTerm(), CommitIndex: r.CommitIndex(),
		LastIndex: number("last_log_index"), LastTerm: number("last_log_term"),
	}
	if at := number("last_snapshot_index"); at > l.LastIndex {
		l.LastIndex, l.LastTerm = at, number("last_snapshot_term")
	}
	if store, err := v.raft.LogStore(); err == nil {
		l.FirstIndex, _ = store.FirstIndex() // 0 when it has just been closed
	}
	if v.state != nil {
		l.AppliedIndex, _ = v.state.Applied()
	}
	return l
}

// quorum says in words what may still fail.
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
		if !m.Silent {
			well++
		}
	}
	need, all := voters/2+1, plural(voters, "voter")
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
	text := fmt.Sprintf("%s, %d responding, tolerates %s", all, well, failures(well-need))
	if !leads {
		text += ", led by " + leader
	}
	return text
}

// failures says how many failures are tolerated.
func failures(n int) string {
	if n == 0 {
		return "no failure"
	}
	return plural(n, "failure")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
