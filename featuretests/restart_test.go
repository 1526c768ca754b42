package featuretests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/interrextest"
)

// switchboard has the configuration files of a cluster's agents.
type switchboard struct {
	mu    sync.Mutex
	files []config.Config
}

// configure writes a file for agent i to reload.
func (s *switchboard) configure(i int, c *agent.Config) {
	s.files = append(s.files, config.Config{
		Agent: config.Agent{ID: c.ID, DataDir: c.DataDir}, API: c.API, Cluster: c.Cluster, Raft: c.Raft,
		Features: c.Features, Notify: c.Notify, Logging: c.Logging,
	}.WithDefaults())
	c.Load = func() (config.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.files[i], nil
	}
}

// restartRaft changes a value of agent i that needs a restart of raft.
func (s *switchboard) restartRaft(t *testing.T, a *agent.Agent, i int) {
	t.Helper()
	s.mu.Lock()
	s.files[i].Raft.SnapshotRetention++
	s.mu.Unlock()
	if changed, err := a.Reload(); err != nil || len(changed) != 1 || changed[0] != "raft" {
		t.Fatalf("the reload changed %v (%v), want only raft", changed, err)
	}
}

// While raft is restarted on every agent in turn, with frequent snapshots, no reader
// or watcher of any agent sees the state go back.
func TestRaftRestartedInALivingAgentTakesNothingBack(t *testing.T) {
	var s switchboard
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Configure: func(i int, a *agent.Config) {
		a.Raft.SnapshotThreshold, a.Raft.SnapshotInterval = 64, time.Second
		s.configure(i, a)
	}})
	ctx, stop := context.WithCancel(t.Context())
	var watchers sync.WaitGroup
	t.Cleanup(watchers.Wait)
	t.Cleanup(stop)
	var seen [3]atomic.Int64 // events of each watcher
	for i := range c.Agents() {
		leases := c.Client(i).Leases()
		watchers.Go(func() { readOn(ctx, t, i, leases) })
		watchers.Go(func() { watchOn(ctx, t, i, leases, &seen[i]) })
	}
	l := startLoad(t, c.Client(), c.Client(), c.Client())
	for range 2 {
		for i, a := range c.Agents() {
			before := starts(a)
			s.restartRaft(t, a, i)
			eventually(t, "raft is restarted", func() error {
				if starts(a) == before {
					return errors.New("it is not")
				}
				soon, cancel := context.WithTimeout(ctx, 10*time.Second)
				defer cancel()
				return a.Ready(soon)
			})
			pause(ctx, time.Second)
		}
	}
	for i := range seen {
		enough(t, fmt.Sprintf("events of agent %d", i), 100, func() int { return int(seen[i].Load()) })
	}
	l.check(t, 500)
	stop()
	watchers.Wait()
}

// starts returns how often the raft of an agent was started, -1 while it does not
// run.
func starts(a *agent.Agent) int {
	raft := a.Report()["manifolds"].(map[string]any)["raft"].(map[string]any)
	if raft["state"] != "started" {
		return -1
	}
	return raft["start-count"].(int)
}

// readOn reads from agent i as fast as it can.
func readOn(ctx context.Context, t *testing.T, i int, leases interrex.Leases) {
	var last interrex.Revision
	for ctx.Err() == nil {
		page, err := leases.List(ctx, interrex.ListRequest{PageSize: 1, ReadOptions: interrex.ReadOptions{Consistency: interrex.Eventual}})
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("a reader of agent %d: %v", i, err)
			}
			return
		}
		if page.Revision < last {
			t.Errorf("a reader of agent %d saw revision %s after %s", i, page.Revision, last)
			return
		}
		last = page.Revision
	}
}

// watchOn follows agent i: every event has its own position, and the tokens of a key
// increase. It counts events in seen.
func watchOn(ctx context.Context, t *testing.T, i int, leases interrex.Leases, seen *atomic.Int64) {
	watch, err := leases.Watch(ctx, interrex.WatchRequest{})
	if err != nil {
		t.Errorf("a watcher of agent %d: %v", i, err)
		return
	}
	defer watch.Close()
	tokens := map[interrex.Key]interrex.Token{}
	var last interrex.Revision
	for ; ; seen.Add(1) {
		e, err := watch.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("a watcher of agent %d: %v", i, err)
			}
			return
		}
		if wrong := follows(e, last, tokens); wrong != "" {
			t.Errorf("a watcher of agent %d saw %s of %s in revision %s after %s: %s", i, e.Kind, e.Lease.Key, e.Revision, last, wrong)
			return
		}
		last = e.Revision
	}
}

// follows returns what is wrong with an event that comes after others.
func follows(e interrex.LeaseEvent, last interrex.Revision, tokens map[interrex.Key]interrex.Token) string {
	switch e.Kind {
	case interrex.LeasePresent, interrex.EndOfSnapshot:
		return ""
	case interrex.LeaseClaimed:
		if before := tokens[e.Lease.Key]; e.Lease.Token <= before {
			return fmt.Sprintf("token %s after %s", e.Lease.Token, before)
		}
		tokens[e.Lease.Key] = e.Lease.Token
	}
	if e.Revision <= last {
		return "an event comes again, or late"
	}
	return ""
}
