package manifolds

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
)

// engine shows the agent to its operators; it is the API's view of it.
type engine struct {
	set     *Set
	started time.Time
}

// Report is the dependency engine's: see Set.Report.
func (e engine) Report() map[string]any { return e.set.Report() }

// Config is the effective configuration.
func (e engine) Config() (string, error) {
	current, _ := e.set.Configuration.Current()
	text, err := InForce(current).YAML()
	return string(text), err
}

// Reload takes up the configuration file.
func (e engine) Reload(ctx context.Context) ([]string, error) { return e.set.Reload(ctx) }

// Drain stops the agent politely.
func (e engine) Drain(ctx context.Context) error {
	if e.set.config.Agent.Drain == nil {
		return interrex.Errorf(interrex.KindDisabled, "cannot drain: the engine that this agent runs in belongs to another program, stop that one")
	}
	return e.set.config.Agent.Drain(ctx)
}

// Status is what is known without asking anybody.
func (e engine) Status() api.Status {
	now, draining := e.set.view(), e.set.draining.Load() != nil
	status := api.Status{
		ID: e.set.ID(), Draining: draining, Alarms: e.set.Alarms.Current(),
		State: api.Stopped, Uptime: e.set.config.Agent.Clock.Now().Sub(e.started),
		APIAddress: e.set.advertisedAPI(), Quorum: e.set.withoutRaft().Error(),
	}
	if draining {
		status.State = api.Stopping
	}
	if now.dir != nil {
		status.ClusterID = now.dir.ClusterID
	}
	if r := now.running(); r != nil {
		e.raftStatus(&status, r, now)
	}
	return status
}

func (e engine) raftStatus(status *api.Status, r *raft.Raft, now view) {
	leads := r.State() == raft.Leader
	status.State = map[raft.RaftState]api.State{
		raft.Follower: api.Follower, raft.Candidate: api.Candidate, raft.Leader: api.Leader, raft.Shutdown: status.State,
	}[r.State()]
	if heard := r.LastContact(); !leads && !heard.IsZero() {
		status.LastContact = time.Since(heard)
	}
	_, leader := r.LeaderWithID()
	status.LeaderID, status.Log = string(leader), now.log(r)
	status.Members = e.set.members(now)
	switch {
	case len(status.Members) > 0:
	case e.set.section().Cluster.BootstrapExpect > 1:
		status.State = api.Waiting
	default:
		status.State = api.Standalone
	}
	status.Quorum = quorum(status.Members, leads)
}

// log says how far raft's log has come.
func (v view) log(r *raft.Raft) api.Log {
	stats := r.Stats()
	number := func(name string) uint64 {
		n, _ := strconv.ParseUint(stats[name], 10, 64) // raft writes no other
		return n
	}
	l := api.Log{
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
func quorum(members []api.Member, leads bool) string {
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
