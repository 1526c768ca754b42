package featuretests

import (
	"fmt"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

// matches returns how far each member's log matches, by an agent's status; false: it
// does not know this for one of them.
func matches(a *agent.Agent) (at map[string]uint64, all bool) {
	at, all = map[string]uint64{}, true
	for _, m := range a.Status().Members {
		if m.MatchIndex == nil {
			all = false
			continue
		}
		at[m.ID] = *m.MatchIndex
	}
	return at, all
}

// caughtUp returns why the leader does not see all three members at the end of its
// log.
func caughtUp(a *agent.Agent) error {
	last := a.Status().Log.LastIndex
	at, all := matches(a)
	for _, index := range at {
		all = all && index >= last
	}
	if !all || len(at) != 3 {
		return fmt.Errorf("the log ends at %d, and the members' logs match up to %v", last, at)
	}
	return nil
}

func TestTheLeaderKnowsHowFarEachLogMatches(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	leads := c.Leader()
	leader, behind, other := c.Agent(leads), (leads+1)%3, c.Agent((leads+2)%3)
	eventually(t, "all are at the end of the log", func() error { return caughtUp(leader) })

	c.Stop(behind)
	if is := c.Agent(behind).Status(); is.State != interrex.Stopped || is.Log != (interrex.LogStatus{}) {
		t.Errorf("the agent that was stopped: %+v", is)
	}
	const claims = 40
	for i := range claims {
		if _, err := leader.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key(fmt.Sprintf("app/%d", i)), Holder: "ann"}); err != nil {
			t.Fatal(err)
		}
	}
	is := leader.Status()
	at, _ := matches(leader)
	if gap := is.Log.LastIndex - at[c.Agent(behind).ID()]; gap < claims {
		t.Errorf("the log ends at %d, and %s is said to be %d behind: %v", is.Log.LastIndex, c.Agent(behind).ID(), gap, at)
	}
	if is.ID != leader.ID() || is.State != interrex.Leader || is.LeaderID != is.ID {
		t.Errorf("the leader: %+v", is)
	}
	log := is.Log
	if log.FirstIndex == 0 || log.FirstIndex > log.AppliedIndex || log.AppliedIndex > log.CommitIndex || log.CommitIndex > log.LastIndex || log.LastTerm == 0 || log.LastTerm > log.Term {
		t.Errorf("its log: %+v", log)
	}
	if at, _ := matches(other); len(at) != 0 || other.Status().State != interrex.Follower || other.Status().LeaderID != leader.ID() {
		t.Errorf("a follower says how far logs match: %v; %+v", at, other.Status())
	}

	m, err := c.Client(leads).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m.GetMembership() != "stable" {
		t.Errorf("by the API the membership is %q", m.GetMembership())
	}
	for _, member := range m.GetMembers() {
		if member.GetId() == c.Agent(behind).ID() && (member.MatchIndex == nil || m.GetLastIndex() < member.GetMatchIndex()+claims) {
			t.Errorf("by the API the log ends at %d, and the stopped agent's matches up to %v", m.GetLastIndex(), member.MatchIndex)
		}
	}
	c.Start(behind)
	eventually(t, "it has caught up", func() error { return caughtUp(leader) })
}
