package featuretests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/testport"
)

// copiesIn waits until a directory has a copy of each of the agents, and returns their
// paths.
func copiesIn(t *testing.T, dir string, agents ...string) (paths []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%v have copies in %s", agents, dir), func() error {
		paths = nil
		for _, id := range agents {
			found, err := filepath.Glob(filepath.Join(dir, "interrex-*-"+id+".snap"))
			if err != nil || len(found) == 0 {
				return errors.Join(err, errors.New("there is none of "+id))
			}
			paths = append(paths, found...)
		}
		return nil
	})
	return paths
}

func TestEachAgentKeepsCopiesOfItsOwn(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	f := newFleet(t, 3, func(_ int, c *config.Config) { c.Backup.To = first })
	for _, path := range copiesIn(t, first, "n1", "n2", "n3") {
		if out := f.mustRun("snapshot", "inspect", path); !strings.Contains(out, "\nleases ") {
			t.Errorf("%s: %s", path, out)
		}
	}
	f.members[0].config.Backup.To = second
	f.write(f.members[0])
	f.signal(0, syscall.SIGHUP)
	copiesIn(t, second, "n1")

	f.members[1].config.Backup.To = f.data(1)
	f.write(f.members[1])
	if _, said := f.printed("agent", "config", "--check", f.members[1].file); !strings.Contains(said, "backup.to: "+f.data(1)+" is in the data directory") {
		t.Errorf("a check says %s", said)
	}
	f.signal(1, syscall.SIGHUP)
	f.logged(1, "backup.to: "+f.data(1)+" is in the data directory")
}

func TestAnAgentThatCannotMakeCopiesHasAnAlarmUntilItCan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mounted-later")
	f := newFleet(t, 1, func(_ int, c *config.Config) { c.Backup.To = dir })
	eventually(t, "status shows the alarm", func() error {
		if out, _ := f.command("status", "--addr", f.socket(0)); !strings.Contains(out, "backup-late") || !strings.Contains(out, dir+" does not exist") {
			return errors.New(out)
		}
		return nil
	})
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	copiesIn(t, dir, "n1")
	eventually(t, "the alarm is over", func() error {
		out, err := f.command("status", "--addr", f.socket(0))
		if err != nil || strings.Contains(out, "backup-late") {
			return errors.New(out)
		}
		return nil
	})
}

// A copy that was being written when the agent was killed is no copy, and does not stay.
func TestAKilledAgentLeavesNoCopyThatIsNotWhole(t *testing.T) {
	dir := t.TempDir()
	f := newFleet(t, 1, nil)
	f.append(0, 24)
	f.members[0].config.Backup.To = dir
	f.write(f.members[0])
	f.signal(0, syscall.SIGHUP)
	eventually(t, "a copy is being written", func() error {
		all, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || len(all) == 0 {
			return errors.Join(err, errors.New("it is not"))
		}
		return nil
	})
	f.kill(0)
	f.start(0)
	f.answers(0)
	for _, path := range copiesIn(t, dir, "n1") {
		f.mustRun("snapshot", "inspect", path)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.new")); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

var drill = regexp.MustCompile("(?s)\n```sh drill\n(.*?)```")

// The commands are those of docs/operations.md, but for the port.
func TestTheDrillOfTheDocumentsRestoresACopy(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := drill.FindSubmatch(page)
	if found == nil {
		t.Fatal("docs/operations.md has no drill")
	}
	where := t.TempDir()
	f := newFleet(t, 1, nil)
	values(t, client.KV{By: f.client()}, "app/", 5)
	f.mustRun("webhook", "set", "told", "--url", hookServer(t, nil), "--when", "after", "--addr", f.socket(0))
	f.mustRun("snapshot", "save", filepath.Join(where, "backup.snap"), "--addr", f.socket(0))
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	commands := strings.ReplaceAll(string(found[1]), "127.0.0.1:7490", fmt.Sprintf("127.0.0.1:%d", testport.Ports(t, 1)[0]))
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", commands)
	cmd.Dir, cmd.WaitDelay = where, patience
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the agent may still run
		}
		log, _ := os.ReadFile(filepath.Join(where, "drill.log"))
		t.Fatalf("%v: %s\n%s", err, out, log)
	}
	if expected, err := os.ReadFile(filepath.Join(where, "expected")); err != nil || !strings.Contains(string(expected), "resources 5\n") || !strings.Contains(string(expected), "webhooks 1\n") {
		t.Errorf("it compares %s, %v", expected, err)
	}
}
