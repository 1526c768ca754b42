package raftdir

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/disk"
)

// crashing are files in memory, and on a disk that has only what was synced. A
// machine that crashes before step n does none of the steps from n on; what
// was not synced may then be there, or not.
type crashing struct {
	seen, disk map[string]string
	steps      int
	crashAt    int
}

var errCrash = errors.New("crash")

func newCrashing(disk map[string]string, crashAt int) *crashing {
	c := &crashing{seen: map[string]string{}, disk: disk, crashAt: crashAt}
	maps.Copy(c.seen, disk)
	return c
}

func (c *crashing) step() error {
	c.steps++
	if c.steps > c.crashAt {
		return errCrash
	}
	return nil
}

func (c *crashing) WriteSync(path string, data []byte) error {
	if err := c.step(); err != nil {
		c.seen[path] = string(data[:len(data)/2]) // torn
		return err
	}
	c.seen[path] = string(data)
	return nil
}

func (c *crashing) Rename(from, to string) error {
	if err := c.step(); err != nil {
		return err
	}
	c.seen[to] = c.seen[from]
	delete(c.seen, from)
	return nil
}

func (c *crashing) Sync(string) error {
	if err := c.step(); err != nil {
		return err
	}
	c.disk = maps.Clone(c.seen)
	return nil
}

// after returns what may be on the disk after the crash.
func (c *crashing) after() []map[string]string { return []map[string]string{c.disk, c.seen} }

// testDisk is a disk that is closed with the test.
func testDisk(t *testing.T, timeout time.Duration) *disk.Disk {
	d := disk.New(clock.WallClock, timeout)
	t.Cleanup(func() {
		d.Close()
		<-d.Drained()
		d.End()
	})
	return d
}

func openCrashed(t *testing.T, left map[string]string) *stableStore {
	t.Helper()
	dir := t.TempDir()
	for name, data := range left {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := openStable(dir, testDisk(t, 0), disk.OS{})
	if err != nil {
		t.Fatalf("a crash has left what cannot be opened: %v", err)
	}
	return s
}

// TestACrashNeverLeavesHalfAVote votes in one term and then in the next,
// crashes before every single step, and looks at what is left: the vote that
// was given last, or the one that was being given, and never one's candidate
// in the other's term.
func TestACrashNeverLeavesHalfAVote(t *testing.T) {
	votes := []vote{{currentTerm: 1, voteTerm: 1, candidate: []byte("ann")}, {currentTerm: 2, voteTerm: 2, candidate: []byte("bob")}}
	for crashAt := 0; ; crashAt++ {
		f := newCrashing(map[string]string{"/raft/vote": string(encodeVote(vote{}))}, crashAt)
		d := testDisk(t, 0)
		d.Release() // a crash ends raft, too
		s := &stableStore{disk: d, files: f, path: "/raft/vote"}
		answered := vote{}
		for _, v := range votes {
			_ = s.SetUint64([]byte(keyCurrentTerm), v.currentTerm)
			_ = s.SetUint64([]byte(keyLastVoteTerm), v.voteTerm)
			if err := s.Set([]byte(keyLastVoteCand), v.candidate); err == nil {
				answered = v
			}
		}
		for _, left := range f.after() {
			checkVote(t, openCrashed(t, left), votes, answered, crashAt)
		}
		if crashAt > f.steps {
			return
		}
	}
}

func checkVote(t *testing.T, s *stableStore, votes []vote, answered vote, crashAt int) {
	t.Helper()
	term, _ := s.GetUint64([]byte(keyLastVoteTerm))
	candidate, _ := s.Get([]byte(keyLastVoteCand))
	current, _ := s.GetUint64([]byte(keyCurrentTerm))
	if term < answered.voteTerm || current < answered.currentTerm || current < term {
		t.Errorf("crash before step %d: term %d, vote in %d, after a vote in %d was answered", crashAt, current, term, answered.voteTerm)
	}
	whole := term == 0 && candidate == nil
	for _, v := range votes {
		whole = whole || term == v.voteTerm && string(candidate) == string(v.candidate)
	}
	if !whole {
		t.Errorf("crash before step %d: the vote in term %d is for %q, which nobody gave", crashAt, term, candidate)
	}
}

func TestAVoteIsOneWrite(t *testing.T) {
	f := newCrashing(nil, 1<<30)
	s := &stableStore{disk: testDisk(t, 0), files: f, path: "/raft/vote"}
	const perWrite = 3 // file, name, directory
	for i, set := range []func() error{
		func() error { return s.SetUint64([]byte(keyCurrentTerm), 7) },
		func() error { return s.SetUint64([]byte(keyLastVoteTerm), 7) },
		func() error { return s.Set([]byte(keyLastVoteCand), []byte("ann")) },
		func() error { return s.SetUint64([]byte(keyCurrentTerm), 7) }, // known already
	} {
		if err := set(); err != nil {
			t.Fatal(err)
		}
		want := []int{1, 1, 2, 2}[i] * perWrite
		if f.steps != want {
			t.Errorf("after call %d: %d steps, want %d", i, f.steps, want)
		}
	}
}

func TestADamagedVoteIsRefused(t *testing.T) {
	good := encodeVote(vote{currentTerm: 5, voteTerm: 5, candidate: []byte("ann")})
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		if _, err := decodeVote(bad); err == nil {
			t.Errorf("a flipped bit in byte %d is not seen", i)
		}
		if _, err := decodeVote(good[:i]); err == nil {
			t.Errorf("the first %d bytes pass for a vote", i)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, voteName), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openStable(dir, testDisk(t, 0), disk.OS{}); !errors.Is(err, ErrForgotten) {
		t.Fatal(err)
	}
	if _, err := openStable(t.TempDir(), testDisk(t, 0), disk.OS{}); !errors.Is(err, ErrForgotten) {
		t.Fatalf("a vote that is gone: %v", err)
	}
}

// failing are files of a full disk.
type failing struct{ disk.OS }

func (failing) WriteSync(string, []byte) error { return syscall.ENOSPC }

func TestATermThatCannotBeSavedHoldsRaftUntilItIsCutOff(t *testing.T) {
	d := testDisk(t, 0)
	s := &stableStore{disk: d, files: failing{}, path: filepath.Join(t.TempDir(), voteName)}
	returned := make(chan error, 1)
	go func() { returned <- s.SetUint64([]byte(keyCurrentTerm), 2) }()
	<-d.Failed()
	select {
	case err := <-returned:
		t.Fatalf("raft may go on, and panic or answer: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if term, _ := s.GetUint64([]byte(keyCurrentTerm)); term != 0 {
		t.Fatalf("term %d counts although it was not saved", term)
	}
	d.Release()
	if err := <-returned; err != nil {
		t.Fatal(err)
	}
	if err := s.Set([]byte(keyLastVoteCand), []byte("ann")); !errors.Is(err, disk.ErrFull) {
		t.Fatalf("a vote after that: %v", err)
	}
}

func TestOnlyTermAndVoteAreKept(t *testing.T) {
	s := &stableStore{disk: testDisk(t, 0), files: disk.OS{}, path: filepath.Join(t.TempDir(), voteName)}
	if s.Set([]byte("else"), nil) == nil || s.SetUint64([]byte("else"), 1) == nil {
		t.Fatal("an unknown key was taken")
	}
	if err := s.Set([]byte(keyLastVoteCand), make([]byte, maxVoteCand+1)); err == nil {
		t.Fatal(fmt.Sprint("a candidate of ", maxVoteCand+1, " bytes was taken"))
	}
}
