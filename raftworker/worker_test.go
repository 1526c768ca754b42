package raftworker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
	"github.com/juju/clock/testclock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

func TestALoneAgentLeadsAndKeepsWhatItCommitted(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	a.put(w, "one")
	id := a.state.Identity()
	if len(id.ClusterID) != 32 {
		t.Fatalf("no cluster ID: %+v", id)
	}
	revision := a.state.Revision()
	a.stop(w)
	if l := a.tracker.Current(); l.Leader || l.LeaderID != "" || l.Term == 0 {
		t.Fatalf("after the stop: %+v", l)
	}

	// Another process: the state is empty, and comes from the log.
	a.state = newState(t, a.log)
	a.cfg.State = a.state
	w = a.start()
	a.leads()
	a.until("replay", func() bool { return a.state.Revision() == revision })
	if again := a.state.Identity(); again.ClusterID != id.ClusterID {
		t.Fatalf("another cluster: %+v", again)
	}
	a.stop(w)
}

// A state that has outlived an earlier raft is as new as the newest snapshot, and
// is not made of it again; that of another process is.
func TestAStateIsMadeOfASnapshotOnlyWhereItIsOlder(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	a.until("identity", func() bool { return a.state.Identity().ClusterID != "" })
	a.put(w, "one")
	if err := w.life.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	at, _ := a.state.Applied()
	a.stop(w)
	kept, fresh := a.state, newState(t, a.log)
	for s, restored := range map[*machine.State]bool{kept: false, fresh: true} {
		a.state, a.cfg.State = s, s
		w := a.start()
		if w.life.config.NoSnapshotRestoreOnStart == restored {
			t.Errorf("a state that is kept %v: is it restored, %v", s == kept, !restored)
		}
		a.until("the entry", func() bool { i, _ := s.Applied(); return i >= at })
		a.stop(w)
	}
}

func TestAStopDrainsTheTransportBeforeItCloses(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	a.stop(w)
	a.orderMu.Lock()
	defer a.orderMu.Unlock()
	if len(a.order) < 2 || a.order[0] != "drain" || a.order[1] != "close" {
		t.Errorf("the transport saw %v", a.order)
	}
}

func TestTheFirstEntryIsTheClustersIdentity(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.Incarnations = func() map[string]string { return map[string]string{"a": "i1", "stranger": "i2"} }
	w := a.start()
	a.leads()
	a.until("identity", func() bool { return a.state.Identity().ClusterID != "" })
	id := a.state.Identity()
	if len(id.Incarnations) != 1 || id.Incarnations["a"] != "i1" || id.Epoch.Bits == 0 {
		t.Fatalf("%+v", id)
	}
	store, err := w.LogStore()
	if err != nil {
		t.Fatal(err)
	}
	var log raft.Log
	for i, want := range []raft.LogType{raft.LogConfiguration, raft.LogNoop, raft.LogCommand} {
		if err := store.GetLog(uint64(i+1), &log); err != nil || log.Type != want {
			t.Fatalf("entry %d is %v: %v", i+1, log.Type, err)
		}
	}
	a.stop(w)
}

func TestAccessorsSayWhyThereIsNoRaft(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	r, err := w.Raft()
	if err != nil || r == nil {
		t.Fatal(err)
	}
	a.stop(w)
	for name, get := range map[string]func() error{
		"Raft":     func() error { r, err := w.Raft(); return check(r == nil, err) },
		"LogStore": func() error { s, err := w.LogStore(); return check(s == nil, err) },
		"Applier":  func() error { s, err := w.Applier(); return check(s == nil, err) },
		"Enter":    func() error { v, err := w.Enter("x"); return check(v == nil, err) },
	} {
		if err := get(); err != ErrWorkerStopped {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func check(none bool, err error) error {
	if !none {
		return errors.New("it gives something beside its error")
	}
	return err
}

func TestABringUpThatFailsSaysWhyAtOnce(t *testing.T) {
	strange := t.TempDir()
	if err := os.WriteFile(filepath.Join(strange, "raft.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for says, breakIt := range map[string]func(*Config){
		"so it is not interrex's":                  func(c *Config) { c.StorageDir = strange },
		"no transport today":                       func(c *Config) { c.Transport = failingTransport },
		"no applier today":                         func(c *Config) { c.NewApplier = failingApplier },
		"the transport's address \"a\" is not the": func(c *Config) { c.LocalID = "b" },
	} {
		a := newAgent(t, "a", "a")
		breakIt(&a.cfg)
		start := time.Now()
		_, err := NewWorker(a.cfg)
		if err == nil || !strings.Contains(err.Error(), says) || errors.Is(err, ErrStartTimeout) {
			t.Errorf("want %q: %v", says, err)
		}
		if took := time.Since(start); took > LoopTimeout/4 {
			t.Errorf("%q took %s", says, took)
		}
		if !slices.ContainsFunc(a.log.all(), func(l string) bool { return strings.HasPrefix(l, "ERROR") && strings.Contains(l, says) }) {
			t.Errorf("%q is not in the log: %v", says, a.log.all())
		}
		if says != "so it is not interrex's" {
			mustBeUnlocked(t, a.cfg.StorageDir)
		}
	}
}

func failingTransport(Rules) (Transport, error) {
	return nil, errors.New("no transport today")
}

func failingApplier(*raft.Raft, *queue.Queue) (leaseapplier.LeaseApplier, error) {
	return nil, errors.New("no applier today")
}

func mustBeUnlocked(t *testing.T, dir string) {
	t.Helper()
	lock, err := disk.LockDir(dir, "test")
	if err != nil {
		t.Error(err)
		return
	}
	lock.Unlock()
}

func TestAStartThatHangsTimesOutAndKeepsItsDirectory(t *testing.T) {
	a := newAgent(t, "a", "a")
	began := time.Now()
	c := testclock.NewClock(began)
	a.cfg.Clock = c
	reached, stuck := make(chan struct{}), make(chan struct{})
	makeTransport := a.cfg.Transport
	a.cfg.Transport = func(p Rules) (Transport, error) { close(reached); <-stuck; return makeTransport(p) }
	ended := make(chan error, 1)
	go func() { _, err := NewWorker(a.cfg); ended <- err }()
	<-reached // the disk has a deadline by the same clock
	var err error
	for over := false; !over; {
		select {
		case err = <-ended:
			over = true
		case <-time.After(10 * time.Millisecond):
			c.Advance(time.Second)
		}
	}
	if waited := c.Now().Sub(began); err != ErrStartTimeout || waited < LoopTimeout+defaultStopTimeout {
		t.Fatalf("after %s: %v", waited, err)
	}
	if _, err := disk.LockDir(a.cfg.StorageDir, "test"); !errors.Is(err, disk.ErrInUse) {
		t.Fatalf("a second loop could open the first one's log: %v", err)
	}
	close(stuck)
	a.until("end", func() bool {
		lock, err := disk.LockDir(a.cfg.StorageDir, "test")
		if err == nil {
			lock.Unlock()
		}
		return err == nil
	})
}

func TestRaftThatStopsByItselfEndsTheWorker(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	r, _ := w.Raft()
	if err := r.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(); err != errRaftShutdown || err.Error() != "raft shutdown" {
		t.Fatal(err)
	}
	if _, err := w.Raft(); err != errRaftShutdown {
		t.Fatal(err)
	}
	mustBeUnlocked(t, a.cfg.StorageDir)
}

func TestAnApplierThatEndsEndsTheWorker(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	stuck := errors.New("leadership transfer in progress for 30s")
	a.applier.end <- stuck
	if err := w.Wait(); !errors.Is(err, stuck) {
		t.Fatal(err)
	}
	if slices.ContainsFunc(a.log.all(), func(l string) bool { return strings.Contains(l, "the applier has not ended") }) {
		t.Error("it waited for an applier that had ended")
	}
	mustBeUnlocked(t, a.cfg.StorageDir)
}

func TestAWorkerWithoutALeaderEnds(t *testing.T) {
	a := newAgent(t, "a", "a", "b", "c") // the others never come
	a.cfg.NoLeaderTimeout, a.cfg.checkPeriod = 200*time.Millisecond, 20*time.Millisecond
	start := time.Now()
	w := a.start()
	if err := w.Wait(); err != ErrNoLeaderTimeout || err.Error() != "timed out waiting for leader contact" {
		t.Fatal(err)
	}
	if took := time.Since(start); took < a.cfg.NoLeaderTimeout {
		t.Fatalf("it gave up after %s", took)
	}
}

// heard returns when a worker's raft last had contact with a leader.
func (a *agent) heard(w *Worker) time.Time {
	a.t.Helper()
	r, err := w.Raft()
	if err != nil {
		a.t.Fatal(err)
	}
	return r.LastContact()
}

// The guard's times are made up: nothing here depends on the machine's.
// unready is an applier that has not applied its predecessors' entries.
type unready struct{ *testApplier }

func (unready) ReadyTerm() uint64 { return 0 }

func TestALeaderIsReadyWhenItsApplierIs(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.NewApplier = func(r *raft.Raft, _ *queue.Queue) (leaseapplier.LeaseApplier, error) {
		return unready{newTestApplier(r)}, nil
	}
	w := a.start()
	a.until("it leads", func() bool { return a.tracker.Current().Leader })
	if a.tracker.Current().Ready {
		t.Error("it is ready before its applier is")
	}
	a.stop(w)
}

// A leader that has nothing to do commits nothing, and is well; and so is one that
// does not lead and waits for the fate of its entries.
func TestWhoHasNothingToCommitIsLeftAlone(t *testing.T) {
	idle, waiting := newAgent(t, "a", "a"), newAgent(t, "a", "a", "b", "c")
	for name, a := range map[string]*agent{"an idle leader": idle, "no leader": waiting} {
		w := a.start()
		if a == idle {
			a.leads()
			a.put(w, "one")
		}
		g := newGuard(w.life)
		start := time.Now()
		for i := range 4 {
			if err := g.checkProgress(start.Add(time.Duration(i) * time.Hour)); err != nil || g.yielding != nil {
				t.Errorf("%s, after %d hours: %v, and it hands over: %v", name, i, err, g.yielding != nil)
			}
		}
		a.stop(w)
	}
}

func TestContactWithALeaderIsCounted(t *testing.T) {
	all := clusterOf(t, "a", "b", "c")
	first := leader(t, all)
	var other *running
	for _, r := range all {
		if r != first {
			other = r
		}
	}
	other.until("a leader", func() bool { return !other.heard(other.w).IsZero() })
	start := time.Now()
	for name, r := range map[string]*running{"a leader": first, "one who hears of a leader": other} {
		g := newGuard(r.w.life)
		for i := range 3 {
			if i > 0 && r == other {
				before := g.contacted
				other.until("another heartbeat", func() bool { return other.heard(other.w) != before })
			}
			now := start.Add(time.Duration(i) * time.Hour)
			if err := g.checkContact(now); err != nil || !g.contact.Equal(now) {
				t.Errorf("%s, after %d hours: %v, and contact was at %v", name, i, err, g.contact)
			}
		}
	}
	stopAll(all)
	alone := newAgent(t, "a", "a", "b", "c") // the others never come
	w := alone.start()
	g := newGuard(w.life)
	for _, step := range []struct {
		after time.Duration
		want  error
	}{{0, nil}, {g.cfg.NoLeaderTimeout, nil}, {g.cfg.NoLeaderTimeout + 1, ErrNoLeaderTimeout}} {
		if err := g.checkContact(g.contact.Add(step.after)); err != step.want {
			t.Errorf("without a leader for %s: %v", step.after, err)
		}
	}
	alone.stop(w)
}

func TestAnAgentOfNoClusterWaits(t *testing.T) {
	a := newAgent(t, "a")
	a.cfg.NoLeaderTimeout, a.cfg.checkPeriod = 50*time.Millisecond, 10*time.Millisecond
	w := a.start()
	select {
	case <-w.catacomb.Dying():
		t.Fatal(w.Wait())
	case <-time.After(300 * time.Millisecond):
	}
	a.stop(w)
}

func TestBootstrapIsAskedUntilItIsDecided(t *testing.T) {
	a := newAgent(t, "a")
	asked := 0
	a.cfg.Bootstrap = func() ([]string, bool, error) {
		asked++
		switch asked {
		case 1:
			return nil, false, nil
		case 2:
			return nil, false, errors.New("4 agents are here")
		case 3:
			return []string{"b"}, true, nil // not us
		}
		return []string{"a"}, true, nil
	}
	w := a.start()
	a.leads()
	a.stop(w)
	if asked != 4 {
		t.Errorf("asked %d times", asked)
	}
}

func TestBootstrapMakesAClusterOfOneOnce(t *testing.T) {
	cfg := Config{Logger: &testLog{}, StorageDir: t.TempDir(), LocalID: "a"}
	if err := Bootstrap(cfg); err != nil {
		t.Fatal(err)
	}
	err := Bootstrap(cfg)
	if err == nil || !strings.Contains(err.Error(), "bootstrapping raft cluster: bootstrap only works on new clusters") {
		t.Fatal(err)
	}
	a := newAgent(t, "a")
	a.cfg.StorageDir = cfg.StorageDir
	w := a.start()
	a.leads()
	if l := a.tracker.Current(); l.LeaderID != "a" || l.LeaderAddress != "a:7400" {
		t.Errorf("%+v", l)
	}
	a.stop(w)
}

func TestBootstrapRefusesWhatItWouldNotUse(t *testing.T) {
	a := newAgent(t, "a")
	cfg := a.cfg
	for _, want := range []string{"State", "Transport", "NewApplier"} {
		if err := Bootstrap(cfg); err == nil || err.Error() != "non-nil "+want+" during Bootstrap not valid" {
			t.Errorf("%s: %v", want, err)
		}
		switch want {
		case "State":
			cfg.State = nil
		case "Transport":
			cfg.Transport = nil
		case "NewApplier":
			cfg.NewApplier = nil
		}
	}
}

func TestASnapshotIsRestoredInANewProcessAndNeverTakesAStateBack(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	a.put(w, "one")
	r, _ := w.Raft()
	if err := r.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	a.put(w, "two")
	index, _ := a.state.Applied()
	a.stop(w)

	// Raft is restarted in a living process: nothing is restored, nothing goes
	// back, and replayed entries change nothing.
	revision := a.state.Revision()
	w = a.start()
	if now, _ := a.state.Applied(); now < index || a.state.Revision() != revision {
		t.Fatalf("the state went from %d back to %d", index, now)
	}
	if slices.ContainsFunc(a.log.all(), func(l string) bool { return strings.Contains(l, "restored snapshot") }) {
		t.Fatal("a snapshot was restored over a newer state")
	}
	a.leads()
	a.stop(w)

	a.state = newState(t, a.log)
	a.cfg.State = a.state
	w = a.start()
	a.leads()
	a.until("two", func() bool { return a.state.Revision() == revision })
	if !slices.ContainsFunc(a.log.all(), func(l string) bool { return strings.Contains(l, "restored snapshot") }) {
		t.Fatal("no snapshot was restored into an empty state")
	}
	a.stop(w)
}

// laterRegister is a register of a later version.
type laterRegister struct{ *testtable.Register }

func (laterRegister) Version() uint16 { return 2 }

func TestASnapshotThatIsNotReadSaysWhyRaftDoesNotStart(t *testing.T) {
	a := newAgent(t, "a", "a")
	later, err := NewState([]state.Table{laterRegister{testtable.NewRegister()}}, nil, a.log)
	if err != nil {
		t.Fatal(err)
	}
	earlier := a.cfg.State
	a.cfg.State = later
	w := a.start()
	a.leads()
	a.put(w, "one")
	r, _ := w.Raft()
	if err := r.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	a.stop(w)

	a.cfg.State = earlier
	_, err = NewWorker(a.cfg)
	if err == nil || !strings.Contains(err.Error(), "version 2") || !strings.Contains(err.Error(), "run the interrex that wrote it") {
		t.Errorf("started by the version before: %v", err)
	}
	mustBeUnlocked(t, a.cfg.StorageDir)
}

func TestAVisitorKeepsRaftOpenForAWhile(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	v, err := w.Enter("reader")
	if err != nil {
		t.Fatal(err)
	}
	r, _ := w.Raft()
	w.Kill()
	<-v.Stopping()
	if r.State() == raft.Shutdown {
		t.Fatal("raft has ended although somebody is there")
	}
	v.Leave()
	if err := w.Wait(); err != nil {
		t.Fatal(err)
	}
}

// stuckTransport does not close well.
type stuckTransport struct{ Transport }

func (s stuckTransport) Close() error {
	return errors.Join(s.Transport.Close(), errors.New("its port is stuck"))
}

func TestAStopThatFailsSaysWhy(t *testing.T) {
	a := newAgent(t, "a", "a")
	make := a.cfg.Transport
	a.cfg.Transport = func(l Rules) (Transport, error) {
		tr, err := make(l)
		return stuckTransport{tr}, err
	}
	w := a.start()
	a.leads()
	w.Kill()
	if err := w.Wait(); err == nil || err.Error() != "raft shutdown failed: its port is stuck" {
		t.Errorf("it ended with %v", err)
	}
}

// Visitors are asked to leave before anything else is done, since the rest of a stop
// takes time.
func TestVisitorsAreAskedToLeaveFirst(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	v, err := w.Enter("visitor")
	if err != nil {
		t.Fatal(err)
	}
	// It ends while the applier does.
	a.applier.ending = func() {
		<-v.Stopping()
		v.Leave()
	}
	a.stop(w)
	if slices.ContainsFunc(a.log.all(), func(l string) bool { return strings.Contains(l, "the applier has not ended") }) {
		t.Error("a visitor was asked to leave after the applier had ended")
	}
}

func TestWhoOverstaysIsNamed(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.visitTimeout = 20 * time.Millisecond
	w := a.start()
	if _, err := w.Enter("sleeper"); err != nil {
		t.Fatal(err)
	}
	a.stop(w)
	if !slices.ContainsFunc(a.log.all(), func(l string) bool { return strings.Contains(l, "still in use by sleeper") }) {
		t.Fatal(a.log.all())
	}
}

func TestReportSaysHowRaftIs(t *testing.T) {
	a := newAgent(t, "a", "a")
	registry := prometheus.NewRegistry()
	a.cfg.PrometheusRegisterer = registry
	w := a.start()
	a.leads()
	a.put(w, "one")
	var report map[string]any
	a.until("report", func() bool { // it is of a moment ago
		report = w.Report()
		index, has := report["index"].(map[string]any)
		return has && report["state"] == "Leader" && index["applied"].(uint64) > 0
	})
	for _, key := range []string{"state", "term", "leader", "index", "servers", "log", "disk", "worker"} {
		if _, ok := report[key]; !ok {
			t.Errorf("no %s in %v", key, report)
		}
	}
	if report["leader"] != "a" || report["disk"] != "ok" || report["worker"] != "serving" || report["last-contact"] != nil {
		t.Errorf("%v", report)
	}
	if index := report["index"].(map[string]any); index["commit"].(uint64) == 0 || index["applied"].(uint64) == 0 || index["last"].(uint64) == 0 {
		t.Errorf("the indexes are %v", index)
	}
	own := report["servers"].(map[string]any)["a"].(map[string]any)
	if own["suffrage"] != "Voter" || own["match"].(uint64) == 0 {
		t.Errorf("it is said of itself: %v", own)
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, family := range gathered {
		names = append(names, family.GetName())
	}
	for _, name := range []string{"interrex_raft_term", "interrex_log_fsync_duration_seconds", "interrex_raft_state"} {
		if !slices.Contains(names, name) {
			t.Errorf("no %s in %v", name, names)
		}
	}
	for _, family := range gathered {
		m := family.GetMetric()[0]
		switch family.GetName() {
		case "interrex_raft_leader_changes_total", "interrex_raft_commit_index", "interrex_raft_applied_index":
			if m.GetCounter().GetValue()+m.GetGauge().GetValue() < 1 {
				t.Errorf("%s is 0", family.GetName())
			}
		case "interrex_log_fsync_duration_seconds":
			if m.GetHistogram().GetSampleCount() == 0 || m.GetHistogram().GetSampleSum() == 0 {
				t.Error("no fsync is measured")
			}
		}
	}
	if d, running := w.Disk(); !running || d.Err != nil || d.Slow {
		t.Errorf("while it runs: %+v, %v", d, running)
	}
	for range 4 {
		w.life.rules.Answer(&raft.InstallSnapshotRequest{Term: w.life.dir.Term(), LastLogIndex: 300, LastLogTerm: 1})
	}
	if w.Stuck() != 300 {
		t.Errorf("stuck at %d", w.Stuck())
	}
	a.stop(w)
	if _, running := w.Disk(); running || w.Stuck() != 0 {
		t.Errorf("when it has ended: running %v, stuck at %d", running, w.Stuck())
	}
	if left, _ := registry.Gather(); len(left) != 0 {
		t.Errorf("metrics of a worker that has ended: %v", left)
	}
	if w.Report()["worker"] != "stopped" {
		t.Errorf("%v", w.Report())
	}
}

func TestAHungDiskEndsTheWorkerAndNotTheProcess(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.writeTimeout = 2 * time.Second // far above what this disk takes
	broken := &failingDisk{VFS: fs.New()}
	a.cfg.files = broken
	w := a.start()
	a.leads()
	stuck := make(chan struct{})
	broken.breaks(func() error { <-stuck; return nil })
	r, _ := w.Raft()
	r.Apply(a.entry("k"), 0)
	err := w.Wait()
	broken.breaks(nil)
	if !errors.Is(err, ErrDiskHung) {
		t.Fatal(err)
	}
	if _, err := NewWorker(a.cfg); !errors.Is(err, disk.ErrInUse) {
		t.Fatalf("started on a directory in which a write hangs: %v", err)
	}
	close(stuck)
	a.until("the directory is free", func() bool {
		lock, err := disk.LockDir(a.cfg.StorageDir, "test")
		return err == nil && lock.Unlock() == nil
	})
	again := a.start()
	a.leads()
	a.stop(again)
}

// raft-wal makes the next file of the log in the background, and its Close waits
// for that.
func TestAWorkerStopsWhileTheLogRotatesOnAHungDisk(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.writeTimeout, a.cfg.segment = 2*time.Second, 64<<10
	broken := &failingDisk{VFS: fs.New()}
	a.cfg.files = broken
	w := a.start()
	a.leads()
	began, stuck := make(chan struct{}, 99), make(chan struct{})
	broken.makes(func() { began <- struct{}{}; <-stuck })
	r, _ := w.Raft()
	for len(began) == 0 {
		_ = r.Apply(a.entry(strings.Repeat("long", 250)), 0).Error() // the last one may not be answered
	}
	w.Kill()
	ended := make(chan error, 1)
	go func() { ended <- w.Wait() }()
	select {
	case err := <-ended:
		if !errors.Is(err, ErrDiskHung) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the worker has not ended")
	}
	if _, err := NewWorker(a.cfg); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("started on a directory in which a call hangs: %v", err)
	}
	broken.makes(nil)
	close(stuck)
	a.until("the directory is free", func() bool {
		lock, err := disk.LockDir(a.cfg.StorageDir, "test")
		return err == nil && lock.Unlock() == nil
	})
	again := a.start()
	a.leads()
	a.stop(again)
}

func TestAFullDiskEndsTheWorkerWithATypedError(t *testing.T) {
	a := newAgent(t, "a", "a")
	broken := &failingDisk{VFS: fs.New()}
	a.cfg.files = broken
	w := a.start()
	a.leads()
	broken.breaks(func() error { return syscall.ENOSPC })
	r, _ := w.Raft()
	r.Apply(a.entry("k"), 0)
	if err := w.Wait(); !errors.Is(err, ErrDiskFull) {
		t.Fatal(err)
	}
	broken.breaks(nil)
	again := a.start()
	a.leads()
	a.stop(again)
}

// failingDisk is the disk of this machine, whose fsyncs can be made to fail.
type failingDisk struct {
	types.VFS
	mu   sync.Mutex
	sync func() error
	make func() // before each new file
}

func (d *failingDisk) makes(before func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.make = before
}

func (d *failingDisk) breaks(sync func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync = sync
}

func (d *failingDisk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	d.mu.Lock()
	before := d.make
	d.mu.Unlock()
	if before != nil {
		before()
	}
	f, err := d.VFS.Create(dir, name, size)
	return failingFile{f, d}, err
}

func (d *failingDisk) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := d.VFS.OpenWriter(dir, name)
	return failingFile{f, d}, err
}

type failingFile struct {
	types.WritableFile
	disk *failingDisk
}

func (f failingFile) Sync() error {
	f.disk.mu.Lock()
	broken := f.disk.sync
	f.disk.mu.Unlock()
	if broken != nil {
		if err := broken(); err != nil {
			return err
		}
	}
	return f.WritableFile.Sync()
}
