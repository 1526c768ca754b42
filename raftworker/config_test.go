package raftworker

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/limits"
)

func TestConfigNamesTheFirstFieldThatIsMissing(t *testing.T) {
	a := newAgent(t, "a")
	for _, c := range []struct {
		says  string
		unset func(*Config)
	}{
		{"nil State not valid", func(c *Config) { c.State = nil }},
		{"nil Logger not valid", func(c *Config) { c.Logger = nil }},
		{"empty StorageDir not valid", func(c *Config) { c.StorageDir = "" }},
		{"empty LocalID not valid", func(c *Config) { c.LocalID = "" }},
		{"negative SnapshotRetention not valid", func(c *Config) { c.SnapshotRetention = -1 }},
		{"nil Transport not valid", func(c *Config) { c.Transport = nil }},
		{"nil Clock not valid", func(c *Config) { c.Clock = nil }},
		{"nil Queue not valid", func(c *Config) { c.Queue = nil }},
		{"nil NewApplier not valid", func(c *Config) { c.NewApplier = nil }},
	} {
		cfg := a.cfg
		c.unset(&cfg)
		if _, err := NewWorker(cfg); err == nil || err.Error() != c.says {
			t.Errorf("want %q: %v", c.says, err)
		}
	}
}

func TestRaftsConfiguration(t *testing.T) {
	rc, err := NewRaftConfig(Config{LocalID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if rc.ProtocolVersion != 3 || rc.LocalID != "a" || rc.ShutdownOnRemove || !rc.NoLegacyTelemetry || rc.PreVoteDisabled ||
		rc.TrailingLogs != limits.MinTrailingLogs || rc.SnapshotThreshold != 8192 || rc.SnapshotInterval != 2*time.Minute {
		t.Errorf("%+v", rc)
	}
	if rc.HeartbeatTimeout != 300*time.Millisecond || rc.ElectionTimeout != 300*time.Millisecond || rc.LeaderLeaseTimeout != 250*time.Millisecond {
		t.Errorf("lan: %s %s %s", rc.HeartbeatTimeout, rc.ElectionTimeout, rc.LeaderLeaseTimeout)
	}
	rc, err = NewRaftConfig(Config{LocalID: "a", Timing: "wan", ElectionTimeout: 3 * time.Second})
	if err != nil || rc.HeartbeatTimeout != time.Second || rc.ElectionTimeout != 3*time.Second || rc.LeaderLeaseTimeout != 500*time.Millisecond {
		t.Errorf("wan: %+v %v", rc, err)
	}
}

func TestTimeoutsThatDoNotFitAreRefused(t *testing.T) {
	for says, cfg := range map[string]Config{
		"validating raft config: HeartbeatTimeout is too low": {HeartbeatTimeout: time.Millisecond},
		"LeaderLeaseTimeout (250ms) cannot be larger":         {HeartbeatTimeout: 200 * time.Millisecond},
		"must be shorter than HeartbeatTimeout":               {LeaderLeaseTimeout: 300 * time.Millisecond},
		"ElectionTimeout (100ms) must be equal or greater":    {ElectionTimeout: 100 * time.Millisecond},
		`timing "moon" is not valid: use "lan" or "wan"`:      {Timing: "moon"},
	} {
		cfg.LocalID = "a"
		if _, err := NewRaftConfig(cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
}

func TestManifoldConfigNamesTheFirstFieldThatIsMissing(t *testing.T) {
	a := newAgent(t, "a")
	good := ManifoldConfig{
		ClockName: "clock", TransportName: "transport", StateName: "state", QueueName: "queue",
		Raft: a.cfg, Logger: a.log,
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says  string
		unset func(*ManifoldConfig)
	}{
		{"empty ClockName not valid", func(c *ManifoldConfig) { c.ClockName = "" }},
		{"empty TransportName not valid", func(c *ManifoldConfig) { c.TransportName = "" }},
		{"empty StateName not valid", func(c *ManifoldConfig) { c.StateName = "" }},
		{"empty QueueName not valid", func(c *ManifoldConfig) { c.QueueName = "" }},
		{"nil Logger not valid", func(c *ManifoldConfig) { c.Logger = nil }},
		{"nil NewApplier not valid", func(c *ManifoldConfig) { c.Raft.NewApplier = nil }},
	} {
		cfg := good
		c.unset(&cfg)
		if err := cfg.Validate(); err == nil || err.Error() != c.says {
			t.Errorf("want %q: %v", c.says, err)
		}
		if _, err := Manifold(cfg).Start(nil); err == nil || err.Error() != c.says {
			t.Errorf("started with %q: %v", c.says, err)
		}
	}
}

func TestOutputsOfTheManifold(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	var r *raft.Raft
	var s LogStore
	var self *Worker
	for _, out := range []any{&r, &s, &self} {
		if err := output(w, out); err != nil {
			t.Error(err)
		}
	}
	if r == nil || s == nil || self != w {
		t.Errorf("%v %v %v", r, s, self)
	}
	if err := output(w, new(int)); err == nil || !strings.Contains(err.Error(), "expected output of **raft.Raft") {
		t.Error(err)
	}
	if err := output(worker.Worker(nil), &r); err == nil || !strings.Contains(err.Error(), "expected input of type *raftworker.Worker") {
		t.Error(err)
	}
	a.stop(w)
	if err := output(w, &r); err != ErrWorkerStopped {
		t.Error(err)
	}
}

func TestRaftIsGivenItsLogger(t *testing.T) {
	log := &testLog{}
	rc, err := NewRaftConfig(Config{LocalID: "a", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	rc.Logger.Error("of raft")
	(Config{Logger: log}).directory(nil).Logger.Error("of the directory")
	if text := strings.Join(log.all(), "\n"); !strings.Contains(text, "of raft") || !strings.Contains(text, "of the directory") {
		t.Error(text)
	}
}

func TestAnAgentSyncsUnlessItIsToldNotTo(t *testing.T) {
	for _, noSync := range []bool{false, true} {
		if got := (Config{NonSyncedWritesToRaftLog: noSync, Logger: &testLog{}}).directory(nil).NoSync; got != noSync {
			t.Errorf("NonSyncedWritesToRaftLog %v: NoSync %v", noSync, got)
		}
	}
}

func TestALeaderIsLookedForOftenEnough(t *testing.T) {
	for limit, most := range map[time.Duration]time.Duration{0: 10 * time.Second, time.Second: 250 * time.Millisecond, 8 * time.Second: 2 * time.Second, time.Hour: 10 * time.Second} {
		if c := (Config{NoLeaderTimeout: limit}).withDefaults(); c.checkPeriod > most || c.checkPeriod <= 0 {
			t.Errorf("with NoLeaderTimeout %s it is looked every %s, want at most every %s", limit, c.checkPeriod, most)
		}
	}
}
