package datadir

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/loggo"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/founding"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

const clusterID = "000102030405060708090a0b0c0d0e0f"

// survivor is a data directory with a log of some writes.
type survivor struct {
	t      *testing.T
	dir    string
	before Identity
}

// newSurvivor makes the directory of an agent: a cluster of the members, and the
// writes. A snapshot is taken behind that many of them; 0: none.
func newSurvivor(t *testing.T, writes, snapshot int, members ...string) *survivor {
	t.Helper()
	s := &survivor{t: t, dir: t.TempDir()}
	s.before = Identity{ID: "a", Incarnation: "disk", ClusterID: clusterID, Epoch: interrex.Epoch{Bits: 5}}
	s.must(SaveIdentity(s.dir, s.before))
	dir, err := raftdir.Open(s.raft(), raftdir.Config{NoSync: true, SegmentSize: 4096})
	s.must(err)
	s.must(dir.Stable().SetUint64([]byte("CurrentTerm"), 3))
	st := newState(t)
	identity := machine.Identity{ClusterID: clusterID, Epoch: s.before.Epoch, Incarnations: map[string]string{}}
	for _, id := range members {
		identity.Incarnations[id] = "disk"
	}
	opening := (&machine.Entry{Operations: []state.Operation{{Table: machine.SystemTable, Data: (&machine.SetIdentity{Identity: identity}).Append(nil)}}}).Append(nil)
	logs := []*raft.Log{
		{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(founding.Members(members...))},
		{Index: 2, Term: 3, Type: raft.LogNoop},
		{Index: 3, Term: 3, Data: opening},
	}
	for i := range writes {
		logs = append(logs, &raft.Log{Index: uint64(4 + i), Term: 3, Data: entry(st, fmt.Sprint("k", i))})
	}
	for i, l := range logs {
		s.must(dir.StoreLog(l))
		st.Apply(l)
		if snapshot > 0 && i == 2+snapshot {
			s.snapshot(dir, st, members)
		}
	}
	s.must(dir.Close())
	return s
}

func (s *survivor) snapshot(dir *raftdir.Directory, st *machine.State, members []string) {
	s.t.Helper()
	frozen, err := st.Snapshot()
	s.must(err)
	index, term := st.Applied()
	_, nowhere := raft.NewInmemTransport("a")
	sink, err := dir.Snapshots().Create(raft.SnapshotVersionMax, index, term, founding.Members(members...), 1, nowhere)
	s.must(err)
	s.must(frozen.Persist(sink))
}

func (s *survivor) raft() string { return filepath.Join(s.dir, RaftDir) }

func (s *survivor) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// damage cuts the log behind the nth of the writes.
func (s *survivor) damage(n int) {
	s.t.Helper()
	names, err := filepath.Glob(filepath.Join(s.raft(), "*.wal"))
	s.must(err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		s.must(err)
		if i := strings.Index(string(b), fmt.Sprint("k", n)); i >= 0 {
			b[i] ^= 0x40
			s.must(os.WriteFile(name, b, 0o600))
			return
		}
	}
	s.t.Fatalf("no entry %d", n)
}

func (s *survivor) config() (RecoverConfig, *machine.State) {
	st := newState(s.t)
	return RecoverConfig{DataDir: s.dir, State: st, Logger: loggo.GetLogger("test"), Clock: clock.WallClock}, st
}

func (s *survivor) examine(want Verdict) *Examination {
	s.t.Helper()
	e, err := Examine(s.dir)
	s.must(err)
	if e.Verdict != want {
		s.t.Fatalf("it %s, want %s: %+v", e.Verdict, want, e)
	}
	return e
}

func TestARecoveryGoesOnFromWhatIsProved(t *testing.T) {
	for _, test := range []struct{ snapshot, damaged int }{{0, 40}, {0, 1}, {20, 40}, {20, 21}} {
		s := newSurvivor(t, 60, test.snapshot, "a")
		s.examine(Sound)
		s.damage(test.damaged)
		before := s.examine(Lost)
		cfg, st := s.config()
		r, err := Repair(cfg)
		s.must(err)
		if r == nil || r.Epoch.Number != 1 || r.Loss.From != interrex.Revision(1+test.damaged) {
			t.Errorf("%+v: %+v", test, r)
		}
		after := s.examine(Sound)
		if !after.End.Reaches(before.Floor.Position) || after.End.Term <= before.Term || after.End.Index <= before.Floor.Index || after.Term != after.End.Term || after.Snapshot != after.End || after.Last != 0 {
			t.Errorf("%+v: after it %+v, before %+v", test, after, before)
		}
		if !reflect.DeepEqual(after.Members, founding.Members("a")) || after.Identity.Epoch != r.Epoch || after.Identity.Incarnation != "disk" {
			t.Errorf("%+v: %+v", test, after)
		}
		s.leads(st.Identity(), r.Loss)
	}
}

// leads starts raft on the directory.
func (s *survivor) leads(want machine.Identity, loss machine.Loss) {
	s.t.Helper()
	st := newState(s.t)
	dir, err := raftdir.Open(s.raft(), raftdir.Config{NoSync: true})
	s.must(err)
	_, nowhere := raft.NewInmemTransport("a")
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = "a", hclog.NewNullLogger()
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	r, err := raft.NewRaft(c, st, dir, dir.Stable(), dir.Snapshots(), nowhere)
	s.must(err)
	select {
	case <-r.LeaderCh():
	case <-time.After(time.Minute):
		s.t.Fatal("it does not lead within a minute")
	}
	s.must(r.Apply(entry(st, "new"), time.Minute).Error())
	if got := st.Identity(); !reflect.DeepEqual(got, want) || st.Loss() != loss {
		s.t.Errorf("it goes on as %+v, %+v", got, st.Loss())
	}
	if got := st.Revision(); got <= loss.To {
		s.t.Errorf("revision %d", got)
	}
	s.must(errors.Join(r.Shutdown().Error(), dir.Close()))
}

func newState(t *testing.T) *machine.State {
	t.Helper()
	st, err := machine.New(machine.Config{Tables: []state.Table{testtable.NewRegister()}, Logger: loggo.GetLogger("test")})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// entry writes one register.
func entry(st *machine.State, key string) []byte {
	return (&machine.Entry{
		Stamp: st.Now(), Wall: time.Now(),
		Operations: []state.Operation{{Table: testtable.RegisterTable, Data: testtable.Set(key, "x", 0)}},
	}).Append(nil)
}

func TestARecoveryOfALogOfWhichNothingIsLeft(t *testing.T) {
	for _, known := range []string{clusterID, ""} {
		recoverNothing(t, known)
	}
}

func recoverNothing(t *testing.T, cluster string) {
	s := newSurvivor(t, 10, 0, "a")
	s.before.ClusterID = cluster
	s.must(SaveIdentity(s.dir, s.before))
	names, err := filepath.Glob(filepath.Join(s.raft(), "*.wal"))
	s.must(err)
	for _, name := range names {
		s.must(os.Remove(name))
	}
	if e := s.examine(Lost); e.End != (raftlog.Position{}) || !e.Alone {
		t.Errorf("%+v", e)
	}
	cfg, st := s.config()
	r, err := Repair(cfg)
	s.must(err)
	if got := st.Identity(); cluster != "" && got.ClusterID != cluster || got.ClusterID == "" || got.Epoch.Number != 1 || !maps.Equal(got.Incarnations, map[string]string{"a": "disk"}) {
		t.Errorf("%+v", got)
	}
	s.leads(st.Identity(), r.Loss)
}

// Others may have what is missing here.
func TestAMemberOfSeveralIsNotRecovered(t *testing.T) {
	for _, known := range []bool{true, false} {
		s := newSurvivor(t, 30, 0, "a", "b", "c")
		if !known { // not even the members are left
			s.must(disk.CheckedFile{Path: filepath.Join(s.dir, PeersName)}.Save([]byte(`{"b":{}}`)))
			names, err := filepath.Glob(filepath.Join(s.raft(), "*.wal"))
			s.must(err)
			for _, name := range names {
				s.must(os.Remove(name))
			}
		} else {
			s.damage(20)
		}
		before := s.examine(Waits)
		cfg, _ := s.config()
		if r, err := Repair(cfg); r != nil || err != nil {
			t.Errorf("%+v, %v", r, err)
		}
		after := s.examine(Waits)
		if after.Floor != before.Floor || after.Term != before.Term || after.End != before.End || !reflect.DeepEqual(after.Identity, s.before) {
			t.Errorf("after it %+v, before %+v", after, before)
		}
		if aside, _ := filepath.Glob(filepath.Join(s.raft(), "damaged", "*", "*")); known && len(aside) == 0 {
			t.Error("nothing is set aside")
		}
	}
}

func TestAWipedDirectoryIsNotRepaired(t *testing.T) {
	for _, file := range []string{"vote", "floor"} {
		s := newSurvivor(t, 5, 0, "a")
		s.must(os.Remove(filepath.Join(s.raft(), file)))
		s.examine(Wiped)
		cfg, _ := s.config()
		if _, err := Repair(cfg); !errors.Is(err, raftdir.ErrForgotten) || !strings.Contains(err.Error(), file) {
			t.Errorf("without %s: %v", file, err)
		}
	}
}

// A recovery that is cut short between any two of its steps is run again, or has
// been done.
func TestARecoveryThatIsCutShort(t *testing.T) {
	s := newSurvivor(t, 60, 20, "a")
	s.damage(40)
	floor := s.examine(Lost).Floor
	steps := []func(v *recovery, at raftlog.Position) error{
		func(v *recovery, at raftlog.Position) error { return v.vote(at.Term) },
		func(v *recovery, at raftlog.Position) error { return v.snapshot(at) },
		func(v *recovery, at raftlog.Position) error {
			v.id.Epoch = v.State.Identity().Epoch
			return SaveIdentity(v.DataDir, v.id)
		},
	}
	for n := range len(steps) + 1 {
		c := &survivor{t: t, dir: t.TempDir(), before: s.before}
		s.must(os.CopyFS(c.dir, os.DirFS(s.dir)))
		cfg, st := c.config()
		dir, err := raftdir.Open(c.raft(), raftdir.Config{NoSync: true})
		s.must(err)
		id, err := readIdentity(filepath.Join(c.dir, identityName))
		s.must(err)
		v := &recovery{RecoverConfig: cfg, id: id, dir: dir}
		s.must(errors.Join(v.restore(), v.replay()))
		at := v.behind()
		s.must(v.apply(at))
		for _, step := range steps[:n] {
			s.must(step(v, at))
		}
		s.must(dir.Close())
		if n > 1 { // the snapshot is there
			if e, err := Examine(c.dir); err != nil || e.Short() || !e.End.Reaches(floor.Position) {
				t.Errorf("after %d steps: %+v, %v", n, e, err)
			}
			c.leads(st.Identity(), st.Loss())
			continue
		}
		c.examine(Lost)
		cfg, st = c.config()
		r, err := Repair(cfg)
		if s.must(err); r == nil {
			t.Fatalf("after %d steps: nothing was done", n)
		}
		c.examine(Sound)
		c.leads(st.Identity(), r.Loss)
	}
}

func TestWhatIsNoDataDirectoryIsRefused(t *testing.T) {
	if _, err := Examine(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such") {
		t.Errorf("one that is not there: %v", err)
	}
	empty := t.TempDir()
	if _, err := Examine(empty); err == nil || !strings.Contains(err.Error(), "not a data directory") {
		t.Errorf("an empty one: %v", err)
	}
	if entries, _ := os.ReadDir(empty); len(entries) > 0 {
		t.Errorf("it has %v now", entries)
	}
	s := newSurvivor(t, 1, 0, "a")
	lock, err := disk.LockDir(s.dir, "agent a")
	s.must(err)
	defer lock.Unlock()
	if _, err := Examine(s.dir); !errors.Is(err, disk.ErrInUse) || !strings.Contains(err.Error(), "agent a") {
		t.Errorf("one in use: %v", err)
	}
	cfg, _ := s.config()
	if _, err := Repair(cfg); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("one in use: %v", err)
	}
}

// An agent may have voted in a term of which its log has nothing.
func TestARecoveryIsBehindTheTermOfAVote(t *testing.T) {
	dir, err := raftdir.Open(t.TempDir(), raftdir.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Stable().SetUint64([]byte("CurrentTerm"), 9); err != nil {
		t.Fatal(err)
	}
	if at := (&recovery{dir: dir}).behind(); at.Term != 10 {
		t.Errorf("it is of term %d", at.Term)
	}
	if err := dir.Close(); err != nil {
		t.Error(err)
	}
}
