package manifolds

import (
	"context"
	"fmt"
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

// Report is the dependency engine's.
func (e engine) Report() map[string]any {
	if e.set.config.Agent.Engine == nil {
		return map[string]any{"state": "started", "manifolds": map[string]any{}}
	}
	return e.set.Report(e.set.config.Agent.Engine())
}

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
	now := e.set.Present.now()
	status := api.Status{
		Draining: now.draining,
		State:    "stopped", Uptime: e.set.config.Agent.Clock.Now().Sub(e.started),
		APIAddress: e.set.advertisedAPI(),
	}
	if now.state != nil {
		if err := now.state.Halted(); err != nil {
			status.Alarms = append(status.Alarms, err.Error())
		}
	}
	if now.raft == nil {
		status.Quorum = "raft does not run"
		if err := e.set.Starts.Down(e.set.name(RaftName)); err != nil {
			status.Alarms = append(status.Alarms, "raft: "+err.Error())
		}
		return status
	}
	r, err := now.raft.Raft()
	if err != nil {
		status.Quorum = "raft does not run: " + err.Error()
		return status
	}
	e.raftStatus(&status, r, now)
	return status
}

func (e engine) raftStatus(status *api.Status, r *raft.Raft, now parts) {
	leads := r.State() == raft.Leader
	status.State = map[raft.RaftState]string{
		raft.Follower: "follower", raft.Candidate: "candidate", raft.Leader: "leader", raft.Shutdown: "stopped",
	}[r.State()]
	status.CommitIndex = r.CommitIndex()
	if heard := r.LastContact(); !leads && !heard.IsZero() {
		status.LastContact = time.Since(heard)
	}
	servers := r.GetConfiguration().Configuration().Servers
	_, leader := r.LeaderWithID()
	if len(servers) == 0 {
		status.State = "standalone"
	}
	voters, answering := 0, 0
	for _, server := range servers {
		m := api.Member{ID: string(server.ID), Suffrage: "voter", Leader: server.ID == leader}
		if server.Suffrage != raft.Voter {
			m.Suffrage = "nonvoter"
		}
		if now.transport != nil {
			m.Address = now.transport.Address(m.ID)
		}
		m.LastContact = e.contact(now, m.ID, leads)
		if server.Suffrage == raft.Voter {
			voters++
			if m.ID == e.set.Present.ID() || m.LastContact != nil && *m.LastContact < 3*time.Second {
				answering++
			}
		}
		status.Members = append(status.Members, m)
	}
	status.Quorum = quorum(voters, answering, leads, string(leader))
}

// contact is how long ago a member last answered this leader; nil: unknown.
func (e engine) contact(now parts, id string, leads bool) *time.Duration {
	if !leads || now.acks == nil || id == e.set.Present.ID() {
		return nil
	}
	sent, _ := now.acks.LastAck(raft.ServerID(id))
	if sent.IsZero() {
		return nil
	}
	ago := e.set.config.Agent.Clock.Now().Sub(sent)
	return &ago
}

// quorum says in words what may still fail.
func quorum(voters, answering int, leads bool, leader string) string {
	need := voters/2 + 1
	switch {
	case voters == 0:
		return "no members yet"
	case voters == 1 && leads:
		return "1 voter, this agent: none may fail"
	case !leads && leader == "":
		return fmt.Sprintf("%s, no leader is known here: %d must reach each other", plural(voters, "voter"), need)
	case !leads:
		return fmt.Sprintf("%s, led by %s", plural(voters, "voter"), leader)
	case answering < need:
		return fmt.Sprintf("%s, %d answer: quorum is lost", plural(voters, "voter"), answering)
	}
	return fmt.Sprintf("%s, %d answer, %d may fail", plural(voters, "voter"), answering, answering-need)
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
