package datadir

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/raftdir"
)

// rescuedEnv has a child rescue a directory, and say when it begins.
const rescuedEnv = "DATADIR_TEST_RESCUED"

func TestTheChildThatIsKilled(t *testing.T) {
	dir := os.Getenv(rescuedEnv)
	if dir == "" {
		t.Skip("it runs as a process of TestAKilledRescueLeavesTheOldOrTheNewWhole")
	}
	s := &survivor{t: t, dir: dir}
	cfg, _ := s.config()
	os.Stdout.WriteString("begins\n")
	_, err := Rescue(cfg)
	s.must(err)
}

// killed rescues a copy of the directory in a child, kills it after a time, and returns
// the copy and how long the child has run.
func (s *survivor) killed(after time.Duration) (*survivor, time.Duration) {
	s.t.Helper()
	c := &survivor{t: s.t, dir: s.t.TempDir(), before: s.before}
	s.must(os.CopyFS(c.dir, os.DirFS(s.dir)))
	child := exec.Command(os.Args[0], "-test.run=^TestTheChildThatIsKilled$")
	child.Env = append(os.Environ(), rescuedEnv+"="+c.dir)
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := child.StdoutPipe()
	s.must(err)
	s.must(child.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	s.must(err)
	began := time.Now()
	timer := time.AfterFunc(after, func() { _ = child.Process.Kill() })
	defer timer.Stop()
	_ = child.Wait() // it was killed, or has ended before
	return c, time.Since(began)
}

// renewed reports whether a start would find the new cluster; it must be all new or all
// old.
func (s *survivor) renewed() bool {
	s.t.Helper()
	e, err := Examine(s.dir)
	s.must(err)
	cfg, st := s.config()
	dir, err := raftdir.Open(s.raft(), raftdir.Config{NoSync: true})
	s.must(err)
	v := &recovery{RecoverConfig: cfg, dir: dir}
	s.must(v.restore())
	s.must(v.replay())
	s.must(dir.Close())
	alone, epoch := len(e.Members.Servers) == 1, st.Identity().Epoch.Number
	if alone != (epoch == 1) || !alone && e.Epoch.Number != 0 {
		s.t.Errorf("members %v in epoch %d, and epoch %d in the identity", e.Members.Servers, epoch, e.Epoch.Number)
	}
	return alone
}

// A process that recovers its directory is killed at many moments. What it leaves is
// the cluster of three in the old epoch or the cluster of one in the new one, and run
// again the recovery is completed.
func TestAKilledRescueLeavesTheOldOrTheNewWhole(t *testing.T) {
	s := newSurvivor(t, 60, 20, "a", "b", "c")
	_, whole := s.killed(time.Minute)
	seen := map[bool]int{}
	for n := 0; n < 24 || seen[true] == 0 || seen[false] == 0; n++ {
		if n == 500 {
			t.Fatalf("no kill hits: %v", seen)
		}
		c, _ := s.killed(whole * time.Duration(n%24) / 24)
		seen[c.renewed()]++
		cfg, st := c.config()
		r, err := Rescue(cfg)
		if err != nil && c.renewed() { // it was completed, and needs no other
			id, err := readIdentity(filepath.Join(c.dir, identityName))
			if s.must(err); id.Epoch.Number != 1 {
				t.Errorf("the identity is %+v", id)
			}
			continue
		}
		s.must(err)
		c.examine(Sound)
		c.leads(st.Identity(), r.Loss)
	}
	t.Logf("%d kills left the old cluster, %d the new one, in %s", seen[false], seen[true], whole)
}
