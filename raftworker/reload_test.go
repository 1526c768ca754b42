package raftworker

import (
	"testing"
	"time"
)

func TestARunningRaftTakesUpItsReloadables(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	defer a.stop(w)
	a.leads()
	// Alone it was in a hurry.
	a.until("the usual timeouts", func() bool {
		is := w.life.raft.ReloadableConfig()
		return is.HeartbeatTimeout == a.cfg.HeartbeatTimeout && is.ElectionTimeout == a.cfg.ElectionTimeout
	})
	next := a.cfg
	next.HeartbeatTimeout, next.ElectionTimeout = 2*time.Second, 3*time.Second
	next.SnapshotInterval, next.SnapshotThreshold = time.Hour, 7
	if err := w.Reload(next); err != nil {
		t.Fatal(err)
	}
	r, err := w.Raft()
	if err != nil {
		t.Fatal(err)
	}
	is := r.ReloadableConfig()
	if is.HeartbeatTimeout != 2*time.Second || is.ElectionTimeout != 3*time.Second || is.SnapshotInterval != time.Hour || is.SnapshotThreshold != 7 {
		t.Fatalf("raft runs with %+v", is)
	}
	a.put(w, "one") // it leads on

	next.HeartbeatTimeout = time.Millisecond // shorter than the leader's lease
	if err := w.Reload(next); err == nil {
		t.Fatal("a heartbeat shorter than the lease was taken up")
	}
	if again := r.ReloadableConfig(); again != is {
		t.Fatalf("a refused reload changed it to %+v", again)
	}
}

func TestAFollowersThresholdFollowsItsSnapshot(t *testing.T) {
	all := startCluster(t, nil, "a", "b", "c")
	defer stopAll(all)
	lead := leader(t, all)
	for _, r := range all {
		if r == lead {
			continue
		}
		usual := *r.w.life.usual.Load()
		usual.SnapshotThreshold = 77 // as of a snapshot of another size
		r.w.life.usual.Store(&usual)
		r.until("its new threshold", func() bool { return r.w.life.raft.ReloadableConfig().SnapshotThreshold == 77 })
	}
}

func TestAnOnlyVoterDoesNotWaitForAHeartbeat(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	a.stop(w)
	a.cfg.HeartbeatTimeout, a.cfg.ElectionTimeout = time.Hour, time.Hour
	w = a.start()
	defer a.stop(w)
	a.leads()
}
