package health

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/raftworker/leadership"
	"github.com/interrex/interrex/state"
)

// real is an agent with a real raft and a real transport, and the view of it.
type real struct {
	t         *testing.T
	id        string
	state     *machine.State
	tracker   *leadership.Tracker
	transport *peering.Transport
	worker    *raftworker.Worker
	acks      Acks
	hello     atomic.Pointer[peering.Hello]
	refuse    atomic.Pointer[func(peering.Hello) error]
}

// quorumOf starts agents that are the voters of one cluster; the rest of ids belongs to
// no cluster. It returns them by ID once one of them leads.
func quorumOf(t *testing.T, voters []string, rest ...string) map[string]*real {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*real{}
	var join []string
	for _, id := range slices.Concat(voters, rest) {
		a := newReal(t, ca, id, join)
		join = append(join, a.transport.ListenAddr())
		all[id] = a
		if slices.Contains(voters, id) {
			a.startRaft(voters)
		} else {
			a.startRaft(nil)
		}
	}
	eventually(t, "nobody leads", func() bool { return leaderOf(all) != nil })
	return all
}

func newReal(t *testing.T, ca *certificates.CA, id string, join []string) *real {
	t.Helper()
	a := &real{t: t, id: id, tracker: new(leadership.Tracker)}
	a.hello.Store(&peering.Hello{Incarnation: "of-" + id, APIAddress: id + ":7400"})
	tls, err := ca.TLS(id)
	if err != nil {
		t.Fatal(err)
	}
	a.transport, err = peering.New(peering.Config{
		ID: id, TLS: tls, Listen: "127.0.0.1:0", Join: join, Clock: clock.WallClock, Logger: silent.Logger{},
		Hello: func() peering.Hello { return *a.hello.Load() },
		Accept: func(peer peering.Hello) error {
			if refuse := a.refuse.Load(); refuse != nil {
				return (*refuse)(peer)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.transport.Kill(); _ = a.transport.Wait() })
	a.state, err = machine.New(machine.Config{Tables: []state.Table{lease.New()}, Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// startRaft starts raft; without voters it waits until a cluster adds it.
func (a *real) startRaft(voters []string) {
	a.t.Helper()
	q, err := queue.New(queue.Config{Clock: clock.WallClock})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { q.Kill(); _ = q.Wait() })
	a.worker, err = raftworker.NewWorker(raftworker.Config{
		State: a.state, Logger: silent.Logger{}, StorageDir: a.t.TempDir(), LocalID: raft.ServerID(a.id),
		Clock: clock.WallClock, Queue: q, Leadership: a.tracker, NonSyncedWritesToRaftLog: true,
		Transport: func(r raftworker.Rules) (raftworker.Transport, error) {
			return a.transport.Raft(peering.RaftConfig{Life: r.(peering.Life)})
		},
		Bootstrap:        func() ([]string, bool, error) { return voters, len(voters) > 0, nil },
		HeartbeatTimeout: 2 * time.Second, ElectionTimeout: 2 * time.Second, LeaderLeaseTimeout: time.Second,
		NewApplier: func(r *raft.Raft, q *queue.Queue) (leaseapplier.LeaseApplier, error) {
			return leaseapplier.NewApplier(leaseapplier.Config{Raft: r, Queue: q, State: a.state, Clock: clock.WallClock, Logger: silent.Logger{}})
		},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(a.stop)
	made, err := a.worker.Transport()
	if err != nil {
		a.t.Fatal(err)
	}
	a.acks = made.(Acks)
}

func (a *real) stop() { a.worker.Kill(); _ = a.worker.Wait() }

// view is the agent now.
func (a *real) view() View {
	return View{
		At: time.Now(), ID: a.id, Leadership: a.tracker.Current(), State: a.state,
		Transport: a.transport, Raft: a.worker, Vitals: a.worker, Acks: a.acks,
	}
}

func (a *real) health() *Health {
	a.t.Helper()
	h, err := New(a.view, clock.WallClock, silent.Logger{})
	if err != nil {
		a.t.Fatal(err)
	}
	return h
}

func leaderOf(all map[string]*real) *real {
	for _, a := range all {
		if l := a.tracker.Current(); l.Leader && l.Ready {
			return a
		}
	}
	return nil
}

// withFollower waits for a leader and a follower that knows it, has heard it and has
// caught up, and looks at both, again if there was an election meanwhile.
func withFollower(t *testing.T, all map[string]*real, look func(leader, follower View) error) {
	t.Helper()
	var why error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		leader := leaderOf(all)
		if leader == nil {
			continue
		}
		for _, a := range all {
			l, v := leader.view(), a.view()
			if a == leader || v.Leadership.LeaderID != leader.id || v.behind(v.Running()) != nil || v.Running().LastContact().IsZero() {
				continue
			}
			if why = look(l, v); why == nil {
				return
			}
		}
	}
	t.Fatalf("it has not come about: %v", why)
}

func TestAnAgentIsAbreastWhileItKnowsWhatItsLeaderCommits(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b", "c"})
	withFollower(t, all, func(leader, follower View) error {
		if at, is := leader.abreast(); !is || !at.Equal(leader.At) {
			return errors.New("a leader is not abreast now")
		}
		if at, is := follower.abreast(); !is || !at.Before(follower.At) || at.Before(follower.At.Add(-time.Minute)) {
			return errors.New("a follower is not abreast since it heard its leader")
		}
		return nil
	})
	withFollower(t, all, func(leader, follower View) error {
		for what, change := range map[string]func(v *View){
			"that has not applied what was before it": func(v *View) { v.Leadership = interrex.Leadership{Leader: true, LeaderID: v.ID} },
			"whose log is short":                      func(v *View) { v.Vitals = vitals{quarantine: errors.New("short")} },
			"without a raft":                          func(v *View) { v.Raft = nil },
			"whose state is halted": func(v *View) {
				v.State = newTestState(t)
				v.State.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: []byte{99}})
			},
		} {
			changed := leader
			if change(&changed); changed.Leadership.Ready && what == "whose state is halted" && changed.State.Halted() == nil {
				t.Fatal("the state is not halted")
			}
			if _, is := changed.abreast(); is {
				t.Errorf("a leader %s is abreast", what)
			}
		}
		follower.Acks = silentAcks{follower.Acks}
		if _, is := follower.abreast(); is {
			t.Error("a follower is abreast whose leader has not said what is committed")
		}
		return nil
	})
}

// silentAcks are those of a raft that has not been told what is committed.
type silentAcks struct{ Acks }

func (silentAcks) Committed(uint64) uint64 { return 0 }

// The last time counts, and no later look takes it back; who was just started looks
// before its first alarm.
func TestSilenceEndsWhenTheLeaderIsHeard(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a"})
	h := all["a"].health()
	eventually(t, "the leader does not know what it commits", func() bool { _, ever := h.Silence(); return ever })
	later := time.Now().Add(time.Hour)
	h.abreast.Store(&later)
	if got := h.noteAbreast(all["a"].view()); !got.Equal(later) {
		t.Errorf("an older look counts: %v", got)
	}
	long := time.Now().Add(-time.Hour)
	h.abreast.Store(&long)
	if d, _ := h.Silence(); d > time.Minute {
		t.Errorf("a leader is silent for %s", d)
	}
	h.abreast.Store(nil)
	if h.accessStale(time.Now()); h.abreast.Load() == nil {
		t.Error("the look for alarms notes nothing")
	}
}

func TestWhatALeaderAndAFollowerSeeOfTheMembers(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b", "c"})
	withFollower(t, all, func(leader, follower View) error {
		led, seen := leader.Members(), follower.Members()
		if len(led) != 3 || len(seen) != 3 {
			return errors.New("three members are not seen")
		}
		for i, m := range led {
			other := seen[i]
			switch {
			case m.Leader != (m.ID == leader.ID), other.Leader != m.Leader:
				return errors.New("another one leads")
			case m.MatchIndex == nil || *m.MatchIndex == 0 || other.MatchIndex != nil:
				return errors.New("how far the logs match is for the leader to tell: " + m.ID)
			case m.Address == "" || m.APIAddress != m.ID+":7400" || m.Suffrage != voter:
				return errors.New("the addresses are missing of " + m.ID)
			case m.Silent || other.Silent || m.Refusal != "":
				return errors.New("one that runs is silent: " + m.ID)
			case (m.LastContact == nil) != (m.ID == leader.ID), (other.LastContact == nil) != (m.ID == follower.ID):
				return errors.New("when it was heard is not of the others only: " + m.ID)
			}
		}
		return nil
	})
	withFollower(t, all, func(leader, follower View) error {
		later := leader
		later.At = later.At.Add(time.Hour)
		for _, m := range later.Members() {
			if m.Silent != (m.ID != leader.ID) || m.Silent && *m.LastContact < time.Minute {
				t.Errorf("an hour later: %+v", m)
			}
		}
		found := later.memberSilent()
		if len(found) != 2 || !strings.HasPrefix(found[0].Text, "nothing heard from it at 127.0.0.1:") || found[0].Since.After(leader.At.Add(time.Minute)) {
			t.Errorf("an hour later: %v", found)
		}
		if len(leader.memberSilent()) > 0 {
			return errors.New("one that runs is silent")
		}
		follower.Leadership = interrex.Leadership{LeaderID: leader.ID}
		if found := follower.quorumLost(); len(found) > 0 {
			t.Errorf("with a leader: %v", found)
		}
		follower.Leadership = interrex.Leadership{}
		if found := follower.quorumLost(); len(found) != 1 {
			t.Errorf("without a leader: %v", found)
		}
		leader.Leadership = interrex.Leadership{Leader: true}
		if found := leader.quorumLost(); len(found) > 0 {
			t.Errorf("who leads: %v", found)
		}
		return nil
	})
}

func TestTheStatusOfALeaderAndAFollower(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b", "c"})
	withFollower(t, all, func(leader, follower View) error {
		led, follows := all[leader.ID].health().Status(), all[follower.ID].health().Status()
		switch {
		case led.State != interrex.Leader || follows.State != interrex.Follower:
			return errors.New("the states are " + led.State.String() + " and " + follows.State.String())
		case led.LeaderID != leader.ID || follows.LeaderID != leader.ID:
			return errors.New("another one leads")
		case leader.waits() != "":
			return errors.New("one in a cluster waits: " + leader.waits())
		case led.LastContact != 0 || follows.LastContact == 0:
			return errors.New("only a follower hears a leader")
		case led.Quorum != "3 voters, 3 responding, tolerates 1 failure" || follows.Quorum != led.Quorum+", led by "+leader.ID:
			return errors.New(led.Quorum + "; " + follows.Quorum)
		case led.Log.CommitIndex == 0 || led.Log.LastIndex < led.Log.CommitIndex || led.Log.LastTerm == 0 || led.Log.FirstIndex != 1:
			return errors.New("the log is missing")
		}
		return nil
	})
	if got := quorum([]interrex.Member{{ID: "a", Suffrage: voter}, {ID: "b", Suffrage: voter}}, false); got != "2 voters, no leader known: 2 must be able to reach each other" {
		t.Errorf("without a leader: %q", got)
	}
}

// Who refuses whom is said on both sides, once, and not of those that were removed.
func TestARefusalIsSaidOnBothSides(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a"}, "x")
	eventually(t, "a does not meet x", func() bool { return len(all["a"].view().Transport.Contacts()) == 1 })
	refuse := func(kind interrex.Kind) {
		by := func(peer peering.Hello) error { return interrex.Errorf(kind, "%s has an old disk", peer.ID) }
		all["a"].refuse.Store(&by)
	}
	refuse(interrex.ErrConflict)
	texts := func(v View, ours bool) (all string) {
		for _, f := range v.refusals(ours) {
			all += f.Subject + ": " + f.Text + "\n"
		}
		return all
	}
	eventually(t, "the refusal is not said", func() bool {
		return strings.Contains(texts(all["a"].view(), true), "x has an old disk") && strings.Contains(texts(all["x"].view(), false), "x has an old disk")
	})
	if got := texts(all["a"].view(), false) + texts(all["x"].view(), true); got != "" {
		t.Errorf("on the wrong side: %s", got)
	}
	gone := all["x"].view()
	if gone.Removed = errors.New("removed"); texts(gone, false) != "" {
		t.Error("one that knows that it was removed speaks of a refusal")
	}
	refuse(interrex.ErrRemoved)
	eventually(t, "one that was removed is an alarm", func() bool { return texts(all["a"].view(), true) == "" })
}

func TestALeaderCountsTheDisksOfOthers(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b", "c"})
	full := func(a *real) {
		a.hello.Store(&peering.Hello{Incarnation: "of-" + a.id, APIAddress: a.id + ":7400", DiskFull: true})
		a.transport.Announce()
	}
	withFollower(t, all, func(leader, follower View) error {
		h := all[leader.ID].health()
		if found := h.lookForRoom(time.Now()); len(found) > 0 {
			t.Errorf("before: %v", found)
		}
		for id, a := range all {
			if id != leader.ID {
				full(a)
			}
		}
		eventually(t, "the leader does not know", func() bool { return leader.othersWithoutRoom() != "" })
		if found := h.lookForRoom(time.Now()); len(found) != 1 || h.Full() == nil || h.DiskFull() {
			t.Errorf("two of three are full: %v, %v", found, h.Full())
		}
		leader.Leadership.Leader = false
		if said := leader.othersWithoutRoom(); said != "" {
			t.Errorf("of one that does not lead: %s", said)
		}
		return nil
	})
}

// A full disk is told to the others at once, since the leader decides.
func TestAFullDiskIsAnnounced(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b"})
	a := all["a"]
	eventually(t, "they have not met", func() bool { _, met := all["b"].transport.Peer("a"); return met })
	h, err := New(func() View {
		v := a.view()
		v.Vitals = vitals{disk: raftworker.DiskState{Err: raftworker.ErrDiskFull}}
		return v
	}, clock.WallClock, silent.Logger{})
	if err != nil {
		t.Fatal(err)
	}
	a.hello.Store(&peering.Hello{Incarnation: "of-a", DiskFull: true})
	h.lookForRoom(time.Now())
	eventually(t, "the other agent does not know", func() bool { said, _ := all["b"].transport.Peer("a"); return said.DiskFull })
}

func TestAnAgentOutsideOfAClusterSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	x := newReal(t, ca, "x", nil)
	x.hello.Store(&peering.Hello{Expect: 5})
	x.startRaft(nil)
	h := func(change func(*View)) *Health {
		h, err := New(func() View {
			v := x.view()
			change(&v)
			return v
		}, clock.WallClock, silent.Logger{})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	for want, change := range map[string]func(*View){
		"waiting to be let in by the cluster K at h:1": func(v *View) {
			v.Joins, v.Config.Cluster.Join, v.Config.Cluster.BootstrapExpect = "K", []string{"h:1"}, 3
		},
		"waiting to be let in by the cluster at h:1, h:2": func(v *View) { v.Config.Cluster.Join = []string{"h:1", "h:2"} },
		"waiting for 4 of 5":                              func(v *View) { v.Config.Cluster.BootstrapExpect = 5 },
	} {
		status := h(change).Status()
		state := interrex.Standalone
		if strings.HasPrefix(want, "waiting for") || strings.Contains(want, "cluster K") {
			state = interrex.Waiting
		}
		if status.State != state || !strings.HasPrefix(status.Quorum, "none: "+want+" (since ") {
			t.Errorf("%s, %q, want %q", status.State, status.Quorum, want)
		}
	}
}

func TestWhoUsesACAIsSeenByTheLeader(t *testing.T) {
	t.Parallel()
	all := quorumOf(t, []string{"a", "b", "c"})
	table := rotated(t, member.Dropping)
	withFollower(t, all, func(leader, follower View) error {
		all[follower.ID].hello.Store(&peering.Hello{Incarnation: "of-" + follower.ID, Trusts: []string{"old"}, CAKeys: []string{"key"}})
		all[follower.ID].transport.Announce()
		leader.Admitted = table
		eventually(t, "the leader does not know", func() bool { said, _ := leader.Transport.Peer(follower.ID); return len(said.Trusts) > 0 })
		leader.At = time.Now()
		c := leader.Authority()
		if c.Next == "" || c.Next == c.CA || len(c.Former) != len(table.Rotation().Former) || c.Rotation == nil {
			t.Errorf("the CAs: %+v", c)
		}
		for _, a := range c.Agents {
			switch a.ID {
			case leader.ID:
				if !a.Met || !a.Alive || !a.Fit || !a.Voter || !a.Leader {
					return errors.New("the leader is not seen by itself")
				}
			case follower.ID:
				if !a.Met || !a.Alive || !a.Voter || a.Leader || !slices.Equal(a.Trusts, []string{"old"}) || !slices.Equal(a.Keys, []string{"key"}) {
					return errors.New("the follower is not seen")
				}
			case "n1":
				if a.Met || a.Voter || a.Alive {
					t.Errorf("one that was not met: %+v", a)
				}
			}
		}
		if len(c.Agents) != 4 {
			t.Errorf("%d agents", len(c.Agents))
		}
		leader.At = leader.At.Add(time.Hour)
		for _, a := range leader.Authority().Agents {
			if a.Alive != (a.ID == leader.ID) {
				t.Errorf("an hour later: %+v", a)
			}
		}
		return nil
	})
}
