package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/interrextest"
)

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(interrextest.Patience); !is(); time.Sleep(10 * time.Millisecond) { // a poll
		if time.Now().After(deadline) {
			t.Fatalf("it never comes to this: %s", what)
		}
	}
}

// members returns the IDs of the members, as an agent sees them.
func members(t *testing.T, a *agent.Agent) (ids []string) {
	t.Helper()
	all, _, err := a.Members().List(t.Context(), interrex.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		ids = append(ids, m.ID)
	}
	return ids
}

// A follower, then the leader, then the last agent, which is refused and goes on.
func TestDestroyTakesAnAgentOutAndDeletesItsLog(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	for _, i := range []int{(leader + 1) % 3, leader} {
		a := c.Agent(i)
		if err := a.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(c.Dir(i), "raft")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("raft's data is there: %v", err)
		}
		if ids := members(t, c.Agent(c.Leader())); slices.Contains(ids, a.ID()) {
			t.Errorf("%s is a member among %v", a.ID(), ids)
		}
		if err := a.Destroy(t.Context()); !errors.Is(err, agent.ErrStopped) {
			t.Errorf("again: %v", err)
		}
	}
	last := c.Agent(c.Leader())
	if err := last.Destroy(t.Context()); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("the last one: %v", err)
	}
	if _, err := last.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "mine", Name: "db"}, Holder: "me"}); err != nil {
		t.Errorf("after that: %v", err)
	}
	// What was destroyed does not come back by being started.
	gone := c.Agent((leader + 1) % 3)
	if err := gone.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Leases().List(t.Context(), interrex.ListRequest{}); !errors.Is(err, interrex.ErrRemoved) {
		t.Errorf("started again: %v", err)
	}
}

func TestAMemberIsRemovedWithoutItsQuorumOnlyByForce(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	dead, other := c.Agent((leader+1)%3), c.Agent((leader+2)%3)
	c.Kill((leader + 1) % 3)
	by := c.Agent(leader).Members()
	eventually(t, "the dead agent is silent", func() bool {
		all, _, err := by.List(t.Context(), interrex.ReadOptions{})
		return err == nil && slices.ContainsFunc(all, func(m interrex.Member) bool { return m.ID == dead.ID() && (m.Silent || m.Refusal != "") })
	})
	if _, err := by.Remove(t.Context(), other.ID()); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("a living one: %v", err)
	}
	if err := other.Destroy(t.Context()); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("by itself: %v", err)
	}
	if _, err := by.Remove(t.Context(), dead.ID()); err != nil {
		t.Errorf("the dead one: %v", err)
	}
	eventually(t, "it is out", func() bool { return !slices.Contains(members(t, c.Agent(leader)), dead.ID()) })
	if _, err := by.ForceRemove(t.Context(), other.ID()); err != nil {
		t.Errorf("by force: %v", err)
	}
	eventually(t, "the other one learns of it", func() bool {
		_, err := other.Leases().List(t.Context(), interrex.ListRequest{})
		return errors.Is(err, interrex.ErrRemoved)
	})
}

// One that has just died is not silent for long enough yet to be called so.
func TestNoVoterGoesRightAfterAnotherHasDied(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	other := c.Agent((leader + 2) % 3).ID()
	by := c.Agent(leader).Members()
	if _, _, err := by.List(t.Context(), interrex.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Kill((leader + 1) % 3)
	if _, err := by.SetVoter(t.Context(), other, false); err != nil { // it waits for its turn
		t.Errorf("a living one is demoted: %v", err)
	}
	if _, err := by.Remove(t.Context(), other); !errors.Is(err, interrex.ErrConflict) {
		t.Errorf("a living one is removed: %v", err)
	}
	all, _, err := by.List(t.Context(), interrex.ReadOptions{})
	if err != nil || !slices.ContainsFunc(all, func(m interrex.Member) bool { return m.ID == other && m.Suffrage == "voter" }) {
		t.Errorf("without a quorum of the others it has lost its vote: %+v, %v", all, err)
	}
	if _, err := c.Agent(leader).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "mine", Name: "db"}, Holder: "me"}); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// Without a quorum nothing can be removed, and the caller is not kept waiting.
func TestWithoutAQuorumNoForceRemoves(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	leader := c.Leader()
	c.Kill((leader + 1) % 3)
	c.Kill((leader + 2) % 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := c.Agent(leader).Members().ForceRemove(ctx, c.Agent((leader+1)%3).ID())
	if kind := interrex.KindOf(err); kind != interrex.ErrNoLeader && kind != interrex.ErrOutcomeUnknown && kind != interrex.ErrTimeout && kind != interrex.ErrUnavailable {
		t.Errorf("%q: %v", kind, err)
	}
}

// A program whose own engine runs the agent takes it out of its cluster.
func TestAnAgentInAProgramsEngineLeaves(t *testing.T) {
	tls, ports := interrextest.Certificates(t), []string{free(t), free(t), free(t)}
	config := func(i int) agent.Config {
		id := fmt.Sprint("n", i+1)
		return agent.Config{
			ID: id, DataDir: t.TempDir(), Logger: loggo.NewContext(loggo.CRITICAL), TLS: tls(id),
			Cluster: config.Cluster{Listen: ports[i], Join: ports, BootstrapExpect: 3},
		}
	}
	engine, err := dependency.NewEngine(dependency.EngineConfig{
		IsFatal: func(error) bool { return false }, WorstError: func(a, _ error) error { return a },
		ErrorDelay: time.Second, BounceDelay: time.Millisecond, Clock: clock.WallClock,
		Metrics: dependency.DefaultMetrics(), Logger: loggo.NewContext(loggo.CRITICAL).GetLogger("engine"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(engine) })
	own := config(2)
	workers, err := agent.NewWorkers(own, "their/")
	if err != nil {
		t.Fatal(err)
	}
	if err := workers.Leave(t.Context(), true); !errors.Is(err, interrex.ErrUnavailable) {
		t.Errorf("before it runs: %v", err)
	}
	if err := workers.Install(engine); err != nil {
		t.Fatal(err)
	}
	var others []*agent.Agent
	for i := range 2 {
		a, err := agent.New(config(i))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Kill(); _ = a.Wait() })
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		others = append(others, a)
	}
	eventually(t, "all are members", func() bool {
		all, _, err := others[0].Members().List(t.Context(), interrex.ReadOptions{})
		return err == nil && len(all) == 3
	})
	eventually(t, "it has left", func() bool { return workers.Leave(t.Context(), true) == nil })
	if ids := members(t, others[0]); slices.Contains(ids, "n3") {
		t.Errorf("n3 is a member among %v", ids)
	}
	if err := workers.Drain(t.Context()); err != nil {
		t.Errorf("the drain: %v", err)
	}
	if err := worker.Stop(engine); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(own.DataDir, "raft")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("raft's data is there: %v", err)
	}
}
