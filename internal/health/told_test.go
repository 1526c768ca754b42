package health

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/peering"
)

func TestTheStatusOfAnAgentWithoutARunningRaft(t *testing.T) {
	a := newAgent(t)
	a.view.ClusterID, a.view.AdvertisedAPI, a.view.Started = "K", "h:7400", time.Now().Add(-time.Hour)
	a.view.RecoveryFailed = errors.New("no space left")
	a.health.alarms.Look()
	if s := a.health.Status(); s.ClusterID != "K" || s.APIAddress != "h:7400" || s.Uptime < time.Minute || s.State != interrex.Stopped || len(s.Alarms) != 1 {
		t.Errorf("%+v", s)
	}
	for what, c := range map[string]struct {
		change func(*View)
		want   interrex.AgentState
		quorum string
	}{
		"it drains":               {func(v *View) { v.Draining = true }, interrex.Stopping, "raft is not running"},
		"it drains, without raft": {func(v *View) { v.Draining, v.Forwards = true, true }, interrex.Stopping, "raft is not running"},
		"it waits":                {func(v *View) { v.Waits = "waiting for a certificate" }, interrex.Waiting, "none: waiting for a certificate (since "},
		"it waits, without raft":  {func(v *View) { v.Waits, v.Forwards = "waiting for a certificate", true }, interrex.Waiting, "none: waiting for a certificate (since "},
		"it was removed":          {func(v *View) { v.Removed = errors.New("it was removed") }, interrex.Stopped, "it was removed"},
		"nothing is forwarded":    {func(v *View) { v.Forwards = true }, interrex.Forwarding, "runs without raft, and requests cannot be forwarded"},
	} {
		a := newAgent(t)
		c.change(&a.view)
		s := a.health.Status()
		if s.State != c.want || !strings.HasPrefix(s.Quorum, c.quorum) || s.Draining != a.view.Draining {
			t.Errorf("%s: %s, %q", what, s.State, s.Quorum)
		}
		for _, check := range a.health.Ready() {
			if !s.Draining && (check.Name == "raft" || check.Name == "forwarding") && (check.Err == nil || !strings.HasPrefix(check.Err.Error(), c.quorum)) {
				t.Errorf("%s: the probe says %v", what, check.Err)
			}
		}
	}
}

func TestARaftThatIsNotToRunIsNotDown(t *testing.T) {
	for what, change := range map[string]func(*View){
		"it was removed": func(v *View) { v.Removed = errors.New("removed") },
		"it waits":       func(v *View) { v.Waits = "waiting for a certificate" },
		"it forwards":    func(v *View) { v.Forwards = true },
	} {
		a := newAgent(t)
		if change(&a.view); len(a.find("raft-down")) > 0 {
			t.Errorf("%s: %v", what, a.find("raft-down"))
		}
	}
}

func TestALeaderOfAClusterWithoutACAOfItsOwnMissesNoKey(t *testing.T) {
	a := newAgent(t)
	a.view.Leadership.Leader, a.view.Vitals = true, vitals{}
	for _, name := range []string{"ca-key-missing", "ca-rotation-held", "snapshot-loop"} {
		if found := a.find(name); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestWhoHasNoVoteIsNoneOfTheQuorumThatStays(t *testing.T) {
	members := []interrex.Member{{ID: "a", Suffrage: voter}, {ID: "b", Suffrage: voter}, {ID: "c", Suffrage: voter, Silent: true}}
	for _, id := range []string{"x", "y"} {
		members = append(members, interrex.Member{ID: id, Suffrage: "nonvoter"})
	}
	if err := MayLeave("a", members, false); err == nil {
		t.Error("a may leave, and b is no quorum with c")
	}
}

// told are acks that say what a test says.
type told struct {
	Acks
	sent  time.Time
	term  uint64
	match uint64
}

func (a told) LastAck(raft.ServerID) (time.Time, uint64) { return a.sent, a.term }
func (a told) MatchIndex(raft.ServerID, uint64) uint64   { return a.match }

func TestALeaderCountsTheAnswersInItsTerm(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b", "c"})
	withFollower(t, all, func(leader, follower View) error {
		r := leader.Running()
		last := time.Now().Add(-time.Hour)
		leader.Acks = told{leader.Acks, last, r.CurrentTerm(), 3}
		for _, m := range leader.Members() {
			if m.ID != leader.ID && (*m.MatchIndex != 3 || !m.Silent) {
				t.Errorf("%s: %d, silent %v", m.ID, *m.MatchIndex, m.Silent)
			}
		}
		if heard := leader.LastHeard(follower.ID, r); !heard.Equal(last) {
			return errors.New("another time counts")
		}
		leader.Acks = told{leader.Acks, last, r.CurrentTerm() - 1, 3}
		if heard := leader.LastHeard(follower.ID, r); heard.Before(last.Add(time.Minute)) {
			t.Error("an answer of an earlier term counts")
		}
		follower.Acks = told{follower.Acks, last, follower.Running().CurrentTerm(), 3}
		if heard := follower.LastHeard(leader.ID, follower.Running()); heard.Before(last.Add(time.Minute)) {
			return errors.New("a follower counts answers")
		}
		return nil
	})
}

func TestWhoHasNoVoteIsSeenAsSuch(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a"}, "x")
	leader := all["a"].view()
	if err := leader.Running().AddNonvoter("x", "x", 0, time.Minute).Error(); err != nil {
		t.Fatal(err)
	}
	members := leader.Members()
	if len(members) != 2 || members[1].Suffrage != "nonvoter" || members[0].Suffrage != voter {
		t.Errorf("%+v", members)
	}
}

// A process that has ended is told from a machine that has gone.
func TestAMemberWhosePortIsClosedIsSaidToBeGone(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b", "c"})
	var gone string
	withFollower(t, all, func(_, follower View) error { gone = follower.ID; return nil })
	all[gone].stop()
	all[gone].transport.Kill()
	_ = all[gone].transport.Wait()
	delete(all, gone)
	seen := func() (v View, m interrex.Member) {
		if leader := leaderOf(all); leader != nil {
			v = leader.view()
			for _, one := range v.Members() {
				if one.ID == gone {
					m = one
				}
			}
		}
		return v, m
	}
	eventually(t, "it is not said", func() bool {
		v, m := seen()
		if m.Refusal != notListening || !m.Silent {
			return false
		}
		found := v.memberSilent()
		return len(found) == 1 && found[0].Subject == gone && strings.HasSuffix(found[0].Text, " refuses connections") &&
			found[0].Since.After(v.Transport.Began()) && found[0].Since.Before(v.At)
	})
	v, _ := seen()
	v.Leadership = interrex.Leadership{}
	if text := lostQuorum(v.Members()); !strings.Contains(text, "silent: "+gone) {
		t.Errorf("%q", text)
	}
}

// An agent in a cluster waits for none, whatever its configuration says.
func TestWhoIsInAClusterWaitsForNobody(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a"})
	v := all["a"].view()
	v.Config.Cluster.BootstrapExpect, v.Config.Cluster.Join = 5, []string{"h:1"}
	if found := append(v.bootstrapWaiting(), v.joinWaiting()...); len(found) > 0 {
		t.Errorf("%v", found)
	}
	v.Transport = nil
	if v.outside() {
		t.Error("an agent without a transport is outside of a cluster")
	}
}

// Whom a join token lets in is not to found a cluster.
func TestWhoJoinsDoesNotWaitForFounders(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a"}, "x")
	all["x"].hello.Store(&peering.Hello{Expect: 3})
	v := all["x"].view()
	v.Config.Cluster.BootstrapExpect, v.Joins = 3, "K"
	if found := v.bootstrapWaiting(); len(found) > 0 {
		t.Errorf("%v", found)
	}
	if found := v.joinWaiting(); len(found) != 1 {
		t.Errorf("%v", found)
	}
}
