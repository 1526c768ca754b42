package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

const theCluster = "00112233445566778899aabbccddeeff"

// scene is what one Worker copies, and where.
type scene struct {
	*testing.T
	Config
	replica *testreplica.Replica
	unready error
	failed  int
	frozen  int // states that are not released
}

func newScene(t *testing.T) *scene {
	fresh := func() []state.Table { return []state.Table{testtable.NewRegister()} }
	s := &scene{T: t, replica: testreplica.New(t, fresh)}
	id := machine.Identity{ClusterID: theCluster, Epoch: interrex.Epoch{Number: 1, Bits: 1}}
	s.do(state.Operation{Table: machine.SystemTable, Data: (&machine.SetIdentity{Identity: id}).Append(nil)})
	s.Config = Config{
		Dir: t.TempDir(), DataDir: t.TempDir(), Every: time.Hour, Keep: 3, Agent: "n1",
		Cluster: func() (string, error) { return theCluster, s.unready },
		Freeze:  s.freeze, Fresh: fresh,
		Failed: func() { s.failed++ }, Clock: clock.WallClock, Logger: silent.Logger{},
	}
	return s
}

// freeze freezes the state, and counts what is not released.
func (s *scene) freeze() (raft.FSMSnapshot, error) {
	f, err := s.replica.State.Copy()
	s.frozen++
	return counted{f, s}, err
}

type counted struct {
	raft.FSMSnapshot
	of *scene
}

func (c counted) Release() {
	c.FSMSnapshot.Release()
	c.of.frozen--
}

func (s *scene) do(op state.Operation) {
	s.Helper()
	if got := s.replica.Do(s.replica.State.Now(), op); len(got) != 1 || got[0].Err != nil {
		s.Fatalf("the operation is refused: %+v", got)
	}
}

// write raises the revision.
func (s *scene) write() {
	s.Helper()
	s.do(state.Operation{Table: testtable.RegisterTable, Data: testtable.Set("k", "v", 0)})
}

// run starts a Worker, which is stopped at the end of what during does.
func (s *scene) run(during func(w *Worker)) {
	s.Helper()
	w, err := NewWorker(s.Config)
	if err != nil {
		s.Fatal(err)
	}
	during(w)
	if err := worker.Stop(w); err != nil {
		s.Error(err)
	}
	if s.frozen != 0 {
		s.Errorf("%d states are not released", s.frozen)
	}
}

// after waits, and then until the Worker waits.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// files returns the names of what is in the directory, by time.
func (s *scene) files() (names []string) {
	s.Helper()
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (s *scene) put(name, text string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

// name returns the name of a copy of this agent.
func (s *scene) name(at time.Time, revision interrex.Revision) string {
	return copyName{at, theCluster, revision, s.Agent}.String()
}

func TestACopyIsMadeSoonAfterTheStartAndThenAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.run(func(w *Worker) {
			after(10 * time.Second)
			if got := s.files(); len(got) != 1 || got[0] != s.name(time.Now().Add(-10*time.Second), s.replica.State.Revision()) {
				t.Fatalf("after the start: %q", got)
			}
			if info, err := os.Stat(filepath.Join(s.Dir, s.files()[0])); err != nil || info.Mode().Perm() != 0o600 || info.Size() != w.Status().Bytes {
				t.Errorf("the copy is %+v, %v; the status is %+v", info, err, w.Status())
			}
			if r := w.Report(); r["directory"] != s.Dir || r["last"] != w.Status().Last.UTC().Format(time.RFC3339) || r["last-error"] != nil {
				t.Errorf("the report is %v", r)
			}
			after(2*time.Hour + time.Minute)
			if got := s.files(); len(got) != 3 {
				t.Errorf("after two hours: %q", got)
			}
		})
		before := s.files()
		s.run(func(*Worker) { // the next is due an hour after the newest one there
			after(50 * time.Minute)
			if got := s.files(); !slices.Equal(got, before) {
				t.Errorf("after a restart: %q, want %q", got, before)
			}
		})
	})
}

func TestOnlyTheNewestCopiesOfThisAgentAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		at := time.Now()
		others := []string{
			"notes.txt", "x-" + s.name(at, 1), s.name(at, 1) + ".old",
			copyName{at, theCluster, 1, "n2"}.String(), copyName{at, "ff" + theCluster, 1, "n1"}.String(),
		}
		for _, name := range others {
			s.put(name, "not of this worker")
		}
		s.run(func(*Worker) {
			for range 6 {
				after(61 * time.Minute)
				s.write()
			}
		})
		var own []string
		for _, name := range s.files() {
			if !slices.Contains(others, name) {
				own = append(own, name)
			}
		}
		revision := s.replica.State.Revision()
		if len(own) != 3 || len(s.files()) != len(own)+len(others) || !strings.Contains(own[2], fmt.Sprintf("-%d-n1", revision-1)) || !strings.Contains(own[0], fmt.Sprintf("-%d-n1", revision-3)) {
			t.Errorf("at revision %d it has %q", revision, s.files())
		}
	})
}

// A clock that was wrong makes neither the newest copy look old nor an old one new.
func TestTheCopyThatWasJustMadeIsKeptWhateverTheClockSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Keep = 1
		s.put(s.name(time.Now().Add(1000*time.Hour), 900), "of a lost future")
		s.run(func(*Worker) { after(time.Minute) })
		if got := s.files(); len(got) != 1 || got[0] != s.name(time.Now().Add(-time.Minute), s.replica.State.Revision()) {
			t.Errorf("it has %q", got)
		}
	})
}

// jumpy is a clock that is set.
type jumpy struct {
	clock.Clock
	by time.Duration
}

func (j *jumpy) Now() time.Time { return j.Clock.Now().Round(0).Add(j.by) }

func TestACopyIsMadeAlthoughTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		now := &jumpy{Clock: s.Clock, by: 1000 * time.Hour}
		s.Clock = now
		s.put(s.name(now.Now().Add(-time.Minute).UTC().Truncate(time.Second), 1), "made when the clock was wrong")
		s.run(func(w *Worker) {
			after(time.Minute)
			if got := s.files(); len(got) != 1 {
				t.Fatalf("before the next is due: %q", got)
			}
			now.by = 0
			after(3 * time.Minute)
			if got := s.files(); len(got) != 2 || w.Late() != "" {
				t.Errorf("after the clock was set: %q, %q", got, w.Late())
			}
			after(time.Hour)
			if got := s.files(); len(got) != 3 {
				t.Errorf("an hour later: %q", got)
			}
		})
	})
}

func TestACopyThatCannotBeReadBackIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		kept := s.name(time.Now().Add(-24*time.Hour), 1)
		s.put(kept, "the last good one")
		freeze := s.Freeze
		s.Freeze = func() (raft.FSMSnapshot, error) {
			frozen, err := freeze()
			return damaged{frozen}, err
		}
		s.Keep = 1
		s.run(func(w *Worker) {
			after(time.Minute)
			if got := s.files(); len(got) != 1 || got[0] != kept {
				t.Errorf("it has %q", got)
			}
			if late := w.Late(); s.failed < 2 || !strings.Contains(late, "cannot be read back") || !strings.Contains(late, "the last good copy") {
				t.Errorf("after %d failures: %q", s.failed, late)
			}
			s.write()
		})
	})
}

// damaged is a snapshot of which a bit turns on its way to the disk.
type damaged struct{ raft.FSMSnapshot }

func (d damaged) Persist(sink raft.SnapshotSink) error { return d.FSMSnapshot.Persist(&turning{sink}) }

type turning struct{ raft.SnapshotSink }

func (t *turning) Write(b []byte) (int, error) {
	c := slices.Clone(b)
	c[len(c)/2] ^= 1
	return t.SnapshotSink.Write(c)
}

func TestAFailureIsCountedToldAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Dir = filepath.Join(t.TempDir(), "later")
		s.run(func(w *Worker) {
			after(30 * time.Second)
			if late := w.Late(); s.failed < 2 || !strings.Contains(late, "no copy was found or made") || !strings.Contains(late, "does not exist") {
				t.Errorf("after %d failures: %q", s.failed, late)
			}
			if r := w.Report(); r["last"] != nil || r["last-error"] != w.Status().Failed {
				t.Errorf("the report is %v", r)
			}
			if err := os.Mkdir(s.Dir, 0o700); err != nil {
				t.Fatal(err)
			}
			after(time.Minute)
			if got := s.files(); len(got) != 1 || w.Late() != "" || w.Status().Failed != "" {
				t.Errorf("it has %q, and says %q, %+v", got, w.Late(), w.Status())
			}
			if err := os.RemoveAll(s.Dir); err != nil {
				t.Fatal(err)
			}
			after(90 * time.Minute)
			if late := w.Late(); late != "" {
				t.Errorf("after one and a half of backup.every: %q", late)
			}
			after(35 * time.Minute)
			if late := w.Late(); !strings.Contains(late, "backup.every is 1 h") {
				t.Errorf("after two of backup.every: %q", late)
			}
		})
	})
}

func TestAnAgentThatIsNotReadyMakesNoCopyAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.unready = errors.New("it is in quarantine")
		s.run(func(w *Worker) {
			after(4 * time.Minute)
			if late := w.Late(); late != "" || w.Status().Failed == "" {
				t.Errorf("before a copy is late: %q, %+v", late, w.Status())
			}
			after(2 * time.Minute)
			if late := w.Late(); len(s.files()) > 0 || s.failed > 0 || !strings.Contains(late, "quarantine") {
				t.Errorf("it has %q, %d failures, and says %q", s.files(), s.failed, late)
			}
			s.unready = nil
			after(5 * time.Second)
			if len(s.files()) != 1 || w.Late() != "" {
				t.Errorf("it has %q, and says %q", s.files(), w.Late())
			}
		})
	})
}

// The pauses after failures become longer, and begin anew after a success.
func TestFailuresAreTriedAgainLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		dir, none := s.Dir, filepath.Join(t.TempDir(), "none")
		s.Dir = filepath.Join(t.TempDir(), "link")
		point := func(to string) {
			t.Helper()
			if err := errors.Join(os.RemoveAll(s.Dir), os.Symlink(to, s.Dir)); err != nil {
				t.Fatal(err)
			}
		}
		point(none)
		s.run(func(*Worker) {
			after(3 * time.Hour)
			if s.failed < 18 || s.failed > 40 {
				t.Errorf("%d failures in three hours", s.failed)
			}
			point(dir)
			after(11 * time.Minute)
			point(none)
			s.failed = 0
			after(2 * time.Minute)
			if s.failed < 3 {
				t.Errorf("%d failures in two minutes after a success", s.failed)
			}
		})
	})
}

func TestACopyOfAnotherClusterIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Cluster = func() (string, error) { return "ff" + theCluster[2:], nil }
		s.run(func(w *Worker) {
			after(time.Second)
			if failed := w.Status().Failed; len(s.files()) > 0 || !strings.Contains(failed, "the copy is of cluster") {
				t.Errorf("it has %q: %s", s.files(), failed)
			}
		})
	})
}

func TestACopyOfAnotherSizeIsNone(t *testing.T) {
	s := newScene(t)
	path := filepath.Join(s.Dir, "x")
	frozen, err := s.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := write(t.Context(), path, frozen)
	frozen.Release()
	if _, bad := verify(t.Context(), path, bytes, s.Fresh); err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	if _, err := verify(t.Context(), path, bytes+1, s.Fresh); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("it has %d bytes, and %d were written", bytes, bytes+1)) {
		t.Errorf("one of another size: %v", err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
	if _, err := verify(t.Context(), path, bytes, s.Fresh); err == nil {
		t.Error("one with more behind its end is good")
	}
}

func TestACopyWithoutItsNameIsNone(t *testing.T) {
	if dir := t.TempDir(); publish(filepath.Join(dir, "none"), filepath.Join(dir, "x")) == nil {
		t.Error("a file that is not there has got its name")
	}
}

func TestOnlyTheNameOfACopyIsOne(t *testing.T) {
	s := newScene(t)
	good := s.name(time.Now(), 7)
	if err := os.Mkdir(filepath.Join(s.Dir, s.name(time.Now(), 8)), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{good, strings.Replace(good, "-7-", "-07-", 1), strings.Replace(good, "-7-", "-99999999999999999999-", 1), "interrex-20240231T000000Z-ff-1-n1.snap"} {
		s.put(name, "x")
		if _, is := parseName(name); is != (name == good) {
			t.Errorf("%s is one: %v", name, is)
		}
	}
	if all, err := own(s.Dir, theCluster, s.Agent); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestWhatACopyThatWasCutOffHasLeftIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.put(stagedName(theCluster, s.Agent), "half of a copy")
		s.run(func(*Worker) { after(time.Minute) })
		if got := s.files(); len(got) != 1 || got[0] == stagedName(theCluster, s.Agent) || s.failed > 0 {
			t.Errorf("it has %q, after %d failures", got, s.failed)
		}
	})
}

// A disk that hangs neither keeps the agent from stopping nor gets a second copy.
func TestADiskThatHangsIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		hung, began := make(chan struct{}), 0
		s.Freeze = func() (raft.FSMSnapshot, error) {
			began++
			<-hung
			return nil, errors.New("it goes on")
		}
		s.run(func(w *Worker) {
			after(4 * time.Minute)
			if late := w.Late(); late != "" {
				t.Errorf("after four minutes: %q", late)
			}
			after(2 * time.Minute)
			if late := w.Late(); !strings.Contains(late, "no copy was found or made") {
				t.Errorf("after six minutes: %q", late)
			}
			after(3 * time.Hour)
			if late := w.Late(); began != 1 || s.failed < 2 || !strings.Contains(late, "does not respond") {
				t.Errorf("%d copies began, with %d failures: %q", began, s.failed, late)
			}
		})
		close(hung)
	})
}

func TestAStopEndsACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		at := make(chan struct{})
		s.Freeze = func() (raft.FSMSnapshot, error) { return endless{at}, nil }
		s.run(func(*Worker) { <-at })
		if got := s.files(); len(got) != 0 {
			t.Errorf("it has left %q", got)
		}
	})
}

// endless is a snapshot that is written until it cannot be.
type endless struct{ began chan struct{} }

func (e endless) Persist(sink raft.SnapshotSink) error {
	close(e.began)
	for {
		if _, err := sink.Write(make([]byte, 16)); err != nil {
			return errors.Join(err, sink.Cancel())
		}
		time.Sleep(time.Millisecond)
	}
}

func (endless) Release() {}

func TestADirectoryThatCannotHaveCopiesIsRefused(t *testing.T) {
	data := t.TempDir()
	below, link, file := filepath.Join(data, "copies"), filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "file")
	for _, err := range []error{os.Mkdir(below, 0o700), os.Symlink(below, link), os.WriteFile(file, nil, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		data: "is in the data directory", below: "is in the data directory", link: "is in the data directory",
		file: "is not a directory", filepath.Join(data, "none"): "does not exist",
	} {
		if err := CheckDirectory(dir, data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
	if err := CheckDirectory(t.TempDir(), data); err != nil {
		t.Error(err)
	}
}

func TestAFileEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f, err := create(ctx, filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Cancel()
	cancel()
	if _, err := f.Write([]byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("a write: %v", err)
	}
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("a read: %v", err)
	}
}
