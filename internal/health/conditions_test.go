package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	dt "github.com/juju/worker/v3/dependency/testing"
	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/accesstoken"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/backup"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/projection"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
)

// elsewhereTested are the conditions that need other agents: see package agent.
var elsewhereTested = []string{"bootstrap-waiting", "forward-down", "fsm-hung", "fsm-snapshot-failed", "fsm-stopped", "log-lost", "member-silent", "peer-refused", "quorum-lost", "refused"}

// trouble makes something wrong, and returns what mends it.
type trouble struct {
	make func(t *testing.T, a *agent) (mend func())
	want string // of the finding
}

// agent is one whose view a test makes.
type agent struct {
	view   View
	health *Health
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{}
	look := func() View {
		v := a.view
		v.At = time.Now()
		return v
	}
	var err error
	if a.health, err = New(look, clock.WallClock, silent.Logger{}); err != nil {
		t.Fatal(err)
	}
	return a
}

// fails makes a worker fail to start.
func fails(worker func(*View) *error, err error) func(*testing.T, *agent) func() {
	return func(_ *testing.T, a *agent) func() {
		*worker(&a.view) = err
		return func() { *worker(&a.view) = nil }
	}
}

func ofRaft(v *View) *error       { return &v.RaftDown }
func ofAPI(v *View) *error        { return &v.APIDown }
func ofProjection(v *View) *error { return &v.ProjectionDown }

// vitals are what a running raft knows of its disk.
type vitals struct {
	disk       raftworker.DiskState
	stuck      uint64
	quarantine error
}

func (h vitals) Disk() (raftworker.DiskState, bool) { return h.disk, true }
func (h vitals) Stuck() uint64                      { return h.stuck }
func (h vitals) Quarantine() error                  { return h.quarantine }

func ails(h vitals) func(*testing.T, *agent) func() {
	return func(_ *testing.T, a *agent) func() {
		a.view.Vitals = h
		return func() { a.view.Vitals = nil }
	}
}

// troubles are what is wrong for each condition.
var troubles = map[string][]trouble{
	"access-stale": {
		{func(t *testing.T, a *agent) func() {
			a.view.Access = closedAccess(t)
			return a.hears
		}, "what its leader commits"},
		{func(t *testing.T, a *agent) func() {
			a.view.Access = closedAccess(t)
			long := time.Now().Add(-31 * time.Second)
			a.health.abreast.Store(&long)
			return a.hears
		}, "for 31 s what its leader commits"},
	},
	"api-down": {
		{fails(ofAPI, errors.New("cannot listen: address in use")), "address in use"},
		{func(_ *testing.T, a *agent) func() {
			a.view.BoundAPI = ""
			return func() { a.view.BoundAPI = "127.0.0.1:7400" }
		}, "nothing listens on 127.0.0.1:7400"},
	},
	"api-open": {{func(_ *testing.T, a *agent) func() {
		a.view.Config.API.Listen, a.view.Config.API.TLS = "10.0.0.1:7400", config.APITLS{Cert: "c.pem", Key: "k.pem"}
		a.view.Config.API.Open = true
		a.view.Leadership.LeaderID = "n2"
		return func() { a.view.Leadership.LeaderID = "" } // it cannot know whether there are tokens
	}, "10.0.0.1:7400 accepts requests from everyone"}},
	"ca-key-missing": {{func(t *testing.T, a *agent) func() {
		a.view.Admitted = rotated(t, 0)
		a.view.ID, a.view.Leadership.Leader = "n1", true
		return func() { a.view.Leadership.Leader = false }
	}, "no voter that was met has it"}},
	"ca-rotation-held": {{func(t *testing.T, a *agent) func() {
		a.view.Admitted = rotated(t, member.Dropping)
		return func() { a.view.Admitted = rotated(t, 0) }
	}, "waits for it in phase dropping: it still trusts the former CA: it has not been met"}},
	"certificate-ending": {
		{func(_ *testing.T, a *agent) func() {
			use := func(end time.Time) { a.view.ClusterTLS = ending(end) }
			use(time.Now().Add(29*24*time.Hour + time.Minute))
			return func() { use(time.Now().Add(31 * 24 * time.Hour)) }
		}, "it expires in 29 d"},
		{func(_ *testing.T, a *agent) func() {
			a.view.ClusterTLS = ending(time.Now().Add(-time.Minute))
			return func() { a.view.ClusterTLS = nil }
		}, "it expired at "},
	},
	// A pair that is for another agent, or damaged, is not taken up, and the one
	// in force is spoken of.
	"certificate-unusable": {
		{replaced(func(t *testing.T, ca *certificates.CA, dir string) { write(t, ca, dir, "n2") }), "it is for n2, and this agent is n1"},
		{replaced(func(t *testing.T, _ *certificates.CA, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "agent.pem"), []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		}), "cannot use the pair of "},
	},
	"disk-failed": {{fails(ofRaft, fmt.Errorf("append: %w", raftworker.ErrDiskFailed)), "append: disk failed"}},
	"disk-full": {
		{fails(ofRaft, fmt.Errorf("append: %w", raftworker.ErrDiskFull)), "append: disk full"},
		{ails(vitals{disk: raftworker.DiskState{Err: raftworker.ErrDiskFull}}), "disk full"},
	},
	"disk-hung": {
		{fails(ofRaft, fmt.Errorf("append: %w", raftworker.ErrDiskHung)), "append: disk hung"},
		{ails(vitals{disk: raftworker.DiskState{Writing: hungAfter + 1}}), "has not returned yet"},
	},
	"disk-low": {{func(t *testing.T, a *agent) func() {
		a.view.Directory = "/nowhere/there"
		return func() { a.view.Directory = "" }
	}, "cannot tell how much is free at /nowhere/there: no such file"}},
	"disk-slow": {{ails(vitals{disk: raftworker.DiskState{Slow: true}}), "more than 500 ms"}},
	"halted": {{func(t *testing.T, a *agent) func() {
		a.view.State = newTestState(t)
		a.view.State.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: []byte{99}})
		return func() { a.view.State = nil }
	}, "halted at log index 1"}},
	"recovery-failed": {{func(_ *testing.T, a *agent) func() {
		a.view.RecoveryFailed = errors.New("no space left")
		return func() { a.view.RecoveryFailed = nil }
	}, "does not try again: no space left"}},
	"removed": {{func(_ *testing.T, a *agent) func() {
		a.view.Removed = interrex.Errorf(interrex.ErrRemoved, "agent a was removed")
		return func() { a.view.Removed = nil }
	}, "agent a was removed"}},
	"join-waiting": {{func(_ *testing.T, a *agent) func() {
		a.view.Waits, a.view.WaitsSince = "waiting to be let in by a:1", time.Now().Add(-time.Minute)
		return func() { a.view.Waits = "" }
	}, "waiting to be let in by a:1"}},
	"limit-near": {
		{func(t *testing.T, a *agent) func() {
			f := admission.NewInFlight(64)
			if err := f.Take(admission.Lasting, "flood", 13); err != nil {
				t.Fatal(err)
			}
			a.view.InFlight = f
			return func() { f.Give(admission.Lasting, "flood", 1) }
		}, "13 of 16"},
		{func(t *testing.T, a *agent) func() {
			f := admission.NewInFlight(64)
			for who := 0; f.Take(admission.Watch, fmt.Sprint(who), 1) == nil; who++ {
			}
			a.view.InFlight = f
			return func() { a.view.InFlight = nil }
		}, "56 of 64"},
		{func(t *testing.T, a *agent) func() {
			ring := watch.New(watch.Config{MaxWatchers: 5})
			t.Cleanup(ring.Close)
			var watchers []*watch.Watcher
			for range 4 {
				w, err := ring.Watch(0, interest.Scope{}, func(*state.Event) bool { return true })
				if err != nil {
					t.Fatal(err)
				}
				watchers = append(watchers, w)
			}
			a.view.Ring = ring
			return watchers[0].Close
		}, "4 of 5"},
		{func(t *testing.T, a *agent) func() {
			q, err := queue.New(queue.Config{Clock: clock.WallClock})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = worker.Stop(q) })
			for i := range 52429 {
				q.Enqueue(t.Context(), &queue.Operation{
					Operation: state.Operation{Table: machine.LeaseTable, Caller: fmt.Sprint(i)},
					Deadline:  time.Now().Add(time.Hour), Done: func(state.Result) {},
				})
			}
			a.view.Queue = q
			return func() { q.Take(1, 1<<20) }
		}, "52429 of 65536"},
		{func(t *testing.T, a *agent) func() {
			q, err := queue.New(queue.Config{Clock: clock.WallClock})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = worker.Stop(q) })
			for range 58983 {
				q.Enqueue(t.Context(), &queue.Operation{
					Operation: state.Operation{Table: machine.LeaseTable}, Extend: true,
					Deadline: time.Now().Add(time.Hour), Done: func(state.Result) {},
				})
			}
			a.view.Queue = q
			return func() { q.Take(8000, 1<<30) }
		}, "58983 of 65536"},
		{func(t *testing.T, a *agent) func() {
			r := testreplica.New(t, func() []state.Table { return []state.Table{lease.New()} })
			a.view.State = r.State
			const names = (8*65_536 + 9) / 10
			var ops []state.Operation
			for i := range names {
				ops = append(ops, state.Operation{Table: machine.SystemTable, Data: (&machine.OpenName{Bits: uint64(i + 1)}).Append(nil)})
			}
			for some := range slices.Chunk(ops, limits.MaxOperations) {
				r.Do(1, some...)
			}
			return func() {
				r.Do(2, state.Operation{Table: machine.SystemTable, Data: (&machine.Retire{Name: "1-0000000000000001"}).Append(nil)})
			}
		}, "52429 of 65536"},
		{func(t *testing.T, a *agent) func() {
			table := resource.New()
			r := testreplica.New(t, func() []state.Table { return []state.Table{table} })
			a.view.Resources = table
			set := func(limit string) {
				r.Do(1, state.Operation{Table: machine.SystemTable, Data: (&machine.SetSettings{Values: map[string]string{"resources.max-count": limit}}).Append(nil)})
			}
			for _, name := range []string{"a", "b", "c", "d"} {
				id := interrex.ResourceID{Type: interrex.ResourceType{Group: "test", GroupVersion: "v1", Kind: "A"}, Name: name}.WithDefaults()
				r.Do(1, state.Operation{Table: machine.ResourceTable, Data: (&resource.Write{ID: id}).Append(nil)})
			}
			set("5")
			return func() { set("6") }
		}, "4 of 5"},
		{func(t *testing.T, a *agent) func() {
			table := lease.New()
			r := testreplica.New(t, func() []state.Table { return []state.Table{table} })
			a.view.Leases = table
			set := func(limit string) {
				r.Do(1, state.Operation{Table: machine.SystemTable, Data: (&machine.SetSettings{Values: map[string]string{"leases.max-count": limit}}).Append(nil)})
			}
			for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				r.Do(1, state.Operation{Table: machine.LeaseTable, Data: (&lease.Claim{Key: interrex.Key{Namespace: "jobs", Name: name}, Holder: "ann", TTL: time.Hour}).Append(nil)})
			}
			set("10")
			return func() { set("11") }
		}, "8 of 10"},
		{func(t *testing.T, a *agent) func() {
			table := access.New()
			r := testreplica.New(t, func() []state.Table { return []state.Table{table} })
			a.view.Access = table
			id := func(n int) accesstoken.Hash { return accesstoken.Token{0: byte(n), 1: byte(n >> 8), 2: 1}.Hash() }
			for n := range 820 {
				r.Do(1, state.Operation{Table: machine.AccessTable, Data: (&access.Create{Hash: id(n), Name: "ann", Operator: true}).Append(nil)})
			}
			return func() {
				r.Do(1, state.Operation{Table: machine.AccessTable, Data: (&access.Revoke{ID: id(7).ID()}).Append(nil)})
			}
		}, "820 of 1024"},
	},
	"projection-failing": {
		{fails(ofProjection, errors.New("cannot open: no such host")), "no such host"},
		{func(t *testing.T, a *agent) func() {
			target := &brokenTarget{}
			target.broken.Store(true)
			runNotify(t, a, target)
			return func() { target.broken.Store(false) }
		}, "no such database"},
	},
	"backup-late": {{func(t *testing.T, a *agent) func() {
		w, err := backup.NewWorker(backup.Config{
			Dir: "/nosuch", Every: time.Hour, Keep: 1, Agent: "a", Clock: clock.WallClock, Logger: silent.Logger{},
			Cluster: func() (string, error) { return "c1", nil }, Failed: func() {},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = worker.Stop(w) })
		a.view.Backup = w
		return func() { a.view.Backup = nil }
	}, "no copy was found or made in /nosuch since the start: /nosuch does not exist"}},
	"projection-behind": {{func(t *testing.T, a *agent) func() {
		target := &brokenTarget{hang: make(chan struct{})}
		runNotifyAt(t, a, target, 12345, anHourAgo{clock.WallClock})
		return func() { close(target.hang) }
	}, "12345 revisions behind"}},
	"quarantine": {{ails(vitals{quarantine: errors.New("its log ends early")}), "its log ends early"}},
	"raft-down": {
		{fails(ofRaft, errors.New("no leader")), "no leader"},
	},
	"state-differs": {{func(_ *testing.T, a *agent) func() {
		a.view.Differs = &interrex.Comparison{LogIndex: 7, Complete: true, Differences: []string{"section s", "section t"}, Kept: "there"}
		return func() { a.view.Differs = nil }
	}, "differ at log index 7: section s; section t; the log and the snapshots of this agent from before are in there"}},
	"snapshot-loop":   {{ails(vitals{stuck: 77}), "log index 77"}},
	"webhook-failing": {{failingHook, "5 failures in a row, the last: "}},
	"webhook-skipped": {{skippedHook, "it was not told of revisions 2 to "}},
	"worker-failing": {{func(_ *testing.T, a *agent) func() {
		a.view.Failing = map[string]error{"queue": errors.New("boom")}
		return func() { a.view.Failing = nil }
	}, "boom"}},
}

// rotated returns the table of a cluster with its own CA, whose rotation has come to a
// phase; 0: none is under way.
func rotated(t *testing.T, phase member.Phase) *member.Table {
	t.Helper()
	table := member.New()
	applied(t, table, &member.SetCA{Cert: string(newCA(t))})
	applied(t, table, &member.See{ID: "n1", Incarnation: "disk", Version: "1"})
	rotateTo(t, table, phase)
	return table
}

// applied has a command applied to a table.
func applied(t *testing.T, table *member.Table, c state.Command) {
	t.Helper()
	decoded, err := table.Decode(c.Append(nil))
	if err == nil {
		err = table.Check(0, decoded)
	}
	if err != nil {
		t.Fatal(err)
	}
	table.Apply(&state.Turn{Revision: 1, Wall: time.Unix(1, 0), Table: machine.MemberTable}, decoded)
}

func newCA(t *testing.T) []byte {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca.Cert()
}

// rotateTo begins a rotation, and takes it to a phase; 0: it begins none.
func rotateTo(t *testing.T, table *member.Table, phase member.Phase) {
	t.Helper()
	if phase == 0 {
		return
	}
	applied(t, table, &member.RotateCA{})
	for table.Rotation().Phase < phase {
		step, _ := table.Step()
		if step.Phase == member.Asked {
			applied(t, table, &member.OfferCA{Step: step, Cert: string(newCA(t))})
		} else {
			applied(t, table, &member.AdvanceCA{Step: step})
		}
	}
}

// replaced is a pair of files that is in force and is replaced by something else.
func replaced(by func(t *testing.T, ca *certificates.CA, dir string)) func(*testing.T, *agent) func() {
	return func(t *testing.T, a *agent) func() {
		ca, err := certificates.DevCA()
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		files := write(t, ca, dir, "n1")
		files.ID = "n1"
		if _, err := files.Certificate(); err != nil {
			t.Fatal(err)
		}
		a.view.ClusterTLS = files
		if found := a.find("certificate-unusable"); len(found) != 0 {
			t.Fatalf("before: %v", found)
		}
		by(t, ca, dir)
		return func() {
			if ends := a.view.certificateEnds(); ends["cluster"].IsZero() {
				t.Error("the end of the certificate in force is not known any more")
			}
			write(t, ca, dir, "n1")
		}
	}
}

func write(t *testing.T, ca *certificates.CA, dir, id string) *certificates.Files {
	t.Helper()
	files, err := ca.Write(dir, id)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ending is a certificate that ends.
type ending time.Time

func (e ending) Certificate() (*tls.Certificate, error) {
	return &tls.Certificate{Leaf: &x509.Certificate{NotAfter: time.Time(e)}}, nil
}
func (ending) Roots() (*x509.CertPool, error) { return nil, errors.New("none") }

func newTestState(t *testing.T) *machine.State {
	t.Helper()
	st, err := machine.New(machine.Config{Tables: []state.Table{lease.New()}, Clock: clock.WallClock})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// brokenTarget fails while it is broken, and hangs until hang is closed.
type brokenTarget struct {
	broken atomic.Bool
	hang   chan struct{}
	kept   atomic.Pointer[projection.Position] // nil: it was told nothing
}

func (b *brokenTarget) Position(context.Context) (projection.Position, error) {
	if b.broken.Load() {
		return projection.Position{}, errors.New("no such database")
	}
	if kept := b.kept.Load(); kept != nil {
		return *kept, nil
	}
	return projection.Position{}, nil
}

func (*brokenTarget) Notify(context.Context, projection.Position, func(notify.NotifyTarget) error) error {
	return nil
}

func (b *brokenTarget) Replace(ctx context.Context, at projection.Position, _ iter.Seq2[[]notify.Claimed, error]) (int, error) {
	if b.hang != nil {
		select {
		case <-b.hang:
		case <-ctx.Done():
		}
	}
	b.kept.Store(&at)
	return 0, nil
}

// far is a state that stands at a revision.
type far interrex.Revision

func (far) Identity() machine.Identity {
	return machine.Identity{ClusterID: "000102030405060708090a0b0c0d0e0f"}
}
func (r far) Revision() interrex.Revision { return interrex.Revision(r) }

// runNotify runs a lease-notify worker at revision 12345.
func runNotify(t *testing.T, a *agent, target notify.Target) {
	t.Helper()
	runNotifyAt(t, a, target, 12345, clock.WallClock)
}

// anHourAgo is a clock that is late.
type anHourAgo struct{ clock.Clock }

func (c anHourAgo) Now() time.Time { return c.Clock.Now().Add(-time.Hour) }

func runNotifyAt(t *testing.T, a *agent, target notify.Target, at far, clk clock.Clock) *notify.Worker {
	t.Helper()
	ring := watch.New(watch.Config{})
	t.Cleanup(ring.Close)
	m := notify.Manifold(notify.ManifoldConfig{ClockName: "clock", RingName: "ring", LeasesName: "leases", StateName: "state", TargetName: "target"})
	w, err := m.Start(dt.StubContext(nil, map[string]any{"clock": clk, "ring": ring, "leases": lease.New(), "state": at, "target": target}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = worker.Stop(w) })
	notifier := w.(*notify.Worker)
	a.view.Notifier = notifier
	return notifier
}

// find returns what a condition finds.
func (a *agent) find(name string) []alarm.Finding {
	for _, c := range a.health.conditions() {
		if c.Name == name {
			return c.Look(time.Now())
		}
	}
	return nil
}

// eventually polls: the worker behind a condition may need a moment.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func TestEachAlarmIsRaisedAndCleared(t *testing.T) {
	a := newAgent(t)
	for _, c := range a.health.conditions() {
		_, known := troubles[c.Name]
		if elsewhere := slices.Contains(elsewhereTested, c.Name); known == elsewhere {
			t.Errorf("%s has no test that raises it, or two", c.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(troubles)) {
		for i, trouble := range troubles[name] {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) { raiseAndClear(t, name, trouble) })
		}
	}
}

func raiseAndClear(t *testing.T, name string, trouble trouble) {
	a := newAgent(t)
	a.view.Config.API.Listen, a.view.BoundAPI = "127.0.0.1:7400", "127.0.0.1:7400"
	if name == "api-down" && !strings.HasPrefix(trouble.want, "nothing") {
		a.view.BoundAPI = ""
	}
	if name != "raft-down" && name != "api-down" {
		if found := a.find(name); len(found) != 0 {
			t.Fatalf("before: %v", found)
		}
	}
	mend := trouble.make(t, a)
	eventually(t, "nothing is found that says "+trouble.want, func() bool {
		found := a.find(name)
		return len(found) == 1 && strings.Contains(found[0].Text, trouble.want)
	})
	mend()
	a.view.BoundAPI = "127.0.0.1:7400"
	eventually(t, "it is not over", func() bool {
		found := a.find(name)
		return len(found) == 0 || name == "raft-down" && !strings.Contains(found[0].Text, trouble.want)
	})
}

func TestHowMuchSpaceIsLowOrAlmostNone(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		free, size uint64
		low, full  bool
	}{
		{31 * mib, 100 * mib, true, true}, {33 * mib, 100 * mib, true, false}, {65 * mib, 100 * mib, false, false},
		{49 * mib, 1000 * mib, true, true}, {51 * mib, 1000 * mib, true, false}, {101 * mib, 1000 * mib, false, false},
		{255 * mib, 1 << 40, true, true}, {257 * mib, 1 << 40, true, false}, {1025 * mib, 1 << 40, false, false},
	} {
		if low, full := Low(c.free, c.size), AlmostFull(c.free, c.size); low != c.low || full != c.full {
			t.Errorf("%d of %d MiB: low %v, almost full %v", c.free/mib, c.size/mib, low, full)
		}
	}
}

func TestALeaderRefusesWritesBeforeTheOthersDisksAreFull(t *testing.T) {
	members := []interrex.Member{{ID: "a", Suffrage: voter}, {ID: "b", Suffrage: voter}, {ID: "c", Suffrage: voter}, {ID: "n", Suffrage: "nonvoter"}}
	for full, want := range map[string]string{"": "", "n": "", "b": "", "b n": "", "b c": "almost no disk space is left on b and c, without which 3 voters have no quorum"} {
		said := withoutQuorum(members, func(id string) bool { return slices.Contains(strings.Fields(full), id) })
		if said != want {
			t.Errorf("%q: %q", full, said)
		}
	}
}

// Everything is let in again when the cause is gone.
func TestWritesAreRefusedForWantOfSpaceOnlyAsLongAsThereIsNone(t *testing.T) {
	a := newAgent(t)
	if a.find("disk-full"); a.health.Full() != nil || a.health.DiskFull() {
		t.Errorf("at first: %v", a.health.Full())
	}
	a.view.RaftDown = fmt.Errorf("append: %w", raftworker.ErrDiskFull)
	a.find("disk-full")
	if err := a.health.Full(); interrex.KindOf(err) != interrex.ErrOverloaded || interrex.RetryAfter(err) <= 0 || !strings.Contains(err.Error(), "append: disk full") || !a.health.DiskFull() {
		t.Errorf("while the disk is full: %v", err)
	}
	a.view.RaftDown = nil
	if a.find("disk-full"); a.health.Full() != nil || a.health.DiskFull() {
		t.Errorf("afterwards: %v", a.health.Full())
	}
}

func TestAFailureThatADiskExplainsIsOneAlarm(t *testing.T) {
	a := newAgent(t)
	for _, err := range []error{raftworker.ErrDiskFailed, raftworker.ErrDiskFull, raftworker.ErrDiskHung} {
		a.view.RaftDown = err
		if found := append(a.find("raft-down"), a.find("worker-failing")...); len(found) > 0 {
			t.Errorf("%v: %v", err, found)
		}
	}
}

// Without a leader raft is started anew each minute. That is no second alarm, and
// no end of those that say what is wrong.
func TestARestartForWantOfALeaderLeavesTheAlarms(t *testing.T) {
	a := newAgent(t)
	unknown := func() (names []string) {
		for _, c := range a.health.conditions() {
			if c.Unknown != nil && c.Unknown() {
				names = append(names, c.Name)
			}
		}
		return names
	}
	a.view.RaftDown = errors.New("boom")
	if got := unknown(); len(got) > 0 {
		t.Errorf("after another failure: %v", got)
	}
	a.view.RaftDown = raftworker.ErrNoLeaderTimeout
	if got, want := unknown(), []string{"member-silent", "quarantine", "quorum-lost"}; !slices.Equal(got, want) {
		t.Errorf("between two lives these go on: %v, want %v", got, want)
	}
	if found := a.find("raft-down"); len(found) > 0 {
		t.Errorf("raft-down: %v", found)
	}
}

func TestAnAPIThatIsAsItShouldBeIsNoAlarm(t *testing.T) {
	everyone := config.API{Listen: "10.0.0.1:7400", Open: true, TLS: config.APITLS{Cert: "c.pem", Key: "k.pem"}}
	known := everyone
	known.TLS.ClientCA = "ca.pem"
	closed := everyone
	closed.Open = false
	local := everyone
	local.Listen = "127.0.0.1:7400"
	for what, c := range map[string]struct {
		api    config.API
		change func(*View)
	}{
		"none": {},
		"one that lets in only callers that it knows": {api: known},
		"one that lets in nobody yet":                 {api: closed},
		"one that only this machine reaches":          {api: local},
		"one that has tokens":                         {everyone, func(v *View) { v.Access = closedAccess(t) }},
		"one of an agent without raft":                {everyone, func(v *View) { v.Forwards = true }},
		"one that has no certificate yet":             {everyone, func(v *View) { v.Waits, v.BoundAPI = "for a certificate", "" }},
	} {
		a := newAgent(t)
		a.view.Config.API, a.view.BoundAPI, a.view.Leadership.LeaderID = c.api, c.api.Listen, "n2"
		if c.change != nil {
			c.change(&a.view)
		}
		if found := append(a.find("api-down"), a.find("api-open")...); len(found) > 0 {
			t.Errorf("%s: %v", what, found)
		}
	}
	a := newAgent(t)
	a.view.Config.API, a.view.Leadership.LeaderID, a.view.Access = everyone, "n2", access.New()
	if found := a.find("api-open"); len(found) != 1 {
		t.Errorf("one that lets in everyone, without a token: %v", found)
	}
}

func TestAnAgentInMemoryHasNoDiskToRunLow(t *testing.T) {
	a := newAgent(t)
	a.view.Directory, a.view.InMemory = "/nowhere/there", true
	if found := a.find("disk-low"); len(found) > 0 {
		t.Error(found)
	}
}

// over is a raft that has ended, before the view is without it.
type over struct{ vitals }

func (over) Disk() (raftworker.DiskState, bool) { return raftworker.DiskState{}, false }

func TestOfARaftThatHasEndedItsEndSaysHowTheDiskIs(t *testing.T) {
	a := newAgent(t)
	a.view.Vitals, a.view.RaftDown = over{}, raftworker.ErrDiskFull
	if found := a.find("disk-full"); len(found) != 1 {
		t.Errorf("got %v", found)
	}
}

// Raft reads its snapshot while it starts, which takes long when it is large.
func TestARaftThatReadsItsSnapshotIsNotDown(t *testing.T) {
	a := newAgent(t)
	look := func(want string) {
		t.Helper()
		found := a.find("raft-down")
		if want == "" && len(found) > 0 || want != "" && (len(found) != 1 || !strings.Contains(found[0].Text, want)) {
			t.Errorf("got %v, want %q", found, want)
		}
	}
	look("a worker that it needs is missing")
	a.view.RaftStarting = time.Now()
	look("")
	a.view.RaftStarting = time.Now().Add(-time.Hour)
	look("it is still reading its snapshot")
	a.view.RaftDown = errors.New("boom") // it is tried again
	look("boom")
}

func TestWhyAnAgentIsNotReachedIsSaidInWords(t *testing.T) {
	for want, c := range map[string]peering.Contact{
		"n1:1 refuses connections":      {Err: fmt.Errorf("dial: %w", unix.ECONNREFUSED)},
		"n1:1 does not respond":         {Err: fmt.Errorf("read: %w", os.ErrDeadlineExceeded)},
		"n1:1: lookup n1: no such host": {Err: errors.New("lookup n1: no such host")},
	} {
		c.Address = "n1:1"
		if got := unreached(c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestATableOfHoldersThatFailsIsNotBehindToo(t *testing.T) {
	a := newAgent(t)
	target := &brokenTarget{}
	target.broken.Store(true)
	w := runNotifyAt(t, a, target, 12345, clock.WallClock)
	eventually(t, "it does not fail", func() bool { return w.Progress().Failures > 0 })
	if found := a.find("projection-behind"); len(found) > 0 {
		t.Errorf("one that fails is behind: %v", found)
	}
	if found := a.find("projection-failing"); len(found) != 1 || found[0].Since.IsZero() || !found[0].Since.Equal(w.Progress().Since) {
		t.Errorf("it fails since %v: %v", w.Progress().Since, found)
	}
}

func TestATableOfHoldersMayBeBehindForAMoment(t *testing.T) {
	a := newAgent(t)
	w := runNotifyAt(t, a, &brokenTarget{hang: make(chan struct{})}, 1_000_000, clock.WallClock)
	eventually(t, "it is not behind", func() bool { return w.Progress().Lag == 1_000_000 })
	if found := a.find("projection-behind"); len(found) > 0 {
		t.Error(found)
	}
}

// An election, a restart and a round of hellos take a moment.
func TestWhatPassesByItselfIsNoAlarmAtOnce(t *testing.T) {
	a := newAgent(t)
	waits := []string{"access-stale", "api-down", "api-open", "bootstrap-waiting", "ca-key-missing", "ca-rotation-held", "certificate-unusable", "forward-down", "join-waiting", "log-lost", "peer-refused", "projection-behind", "projection-failing", "quorum-lost", "raft-down", "refused", "worker-failing"}
	for _, c := range a.health.conditions() {
		if slices.Contains(waits, c.Name) != (c.After >= time.Second) {
			t.Errorf("%s is an alarm after %s", c.Name, c.After)
		}
	}
}

func TestALostQuorumTellsTheSilentFromThoseThatRefuse(t *testing.T) {
	a, silent := interrex.Member{ID: "a", Suffrage: voter}, interrex.Member{ID: "b", Suffrage: voter, Silent: true}
	refuses := interrex.Member{ID: "c", Suffrage: voter, Silent: true, Refusal: "it refuses us: old disk"}
	const begins = "this agent knows of no leader: 2 of 3 voters must be able to reach each other; "
	for want, members := range map[string][]interrex.Member{
		"": {{ID: "d", Suffrage: "nonvoter", Silent: true}},
		begins + "silent: b; not connected: c, it refuses us: old disk": {a, silent, refuses},
		begins + "silent: b, b": {a, silent, silent},
		begins + "not connected: c, it refuses us: old disk; not connected: c, it refuses us: old disk": {a, refuses, refuses},
	} {
		if got := lostQuorum(members); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAMajorityWhoseLogsAreShortIsSaid(t *testing.T) {
	log := func(end, floor uint64) peering.LogState {
		return peering.LogState{Life: "x", End: peering.Place{Term: 2, Index: end}, Floor: peering.Place{Term: 2, Index: floor}}
	}
	members := []interrex.Member{{ID: "a", Suffrage: voter}, {ID: "b", Suffrage: voter}, {ID: "c", Suffrage: voter, Silent: true}, {ID: "d", Suffrage: "nonvoter"}}
	for name, c := range map[string]struct {
		a, b peering.LogState
		want string
	}{
		"both whole":               {log(5, 5), log(7, 7), ""},
		"one short":                {log(5, 5), log(7, 9), "no member may lead: the log of a ends at index 5 of term 2, and it had stored entries up to index 5 of term 2; the log of b ends at index 7 of term 2, and it had stored entries up to index 9 of term 2"},
		"one short, and no quorum": {peering.LogState{}, log(7, 9), ""},
	} {
		// Who is silent does not count, nor who has no vote.
		logs := map[string]peering.LogState{"a": c.a, "b": c.b, "c": log(1, 9), "d": log(1, 9)}
		if got := lostLog(members, logs); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
