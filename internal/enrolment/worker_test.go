package enrolment

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/membership"
	"github.com/interrex/interrex/internal/silent"
)

// enrol runs the worker of an agent to its end, and returns the agent's directory.
func enrol(t *testing.T, id string, configure func(c *config.Config)) *datadir.Dir {
	t.Helper()
	dir, err := datadir.Open(t.TempDir(), func(string) string { return id })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	c := config.Default()
	c.Agent.ID, c.Agent.DataDir = id, dir.Path
	configure(&c)
	w := NewWorker(WorkerConfig{Dir: dir, Configuration: func() config.Config { return c }, Clock: clock.WallClock, Logger: silent.Logger{}})
	if err := w.Wait(); !errors.Is(err, dependency.ErrBounce) {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnAgentThatJoinsByItselfSaysWhatItIs(t *testing.T) {
	cluster := joinable(t)
	if err := cluster.apply(&member.See{ID: "n4", Incarnation: "lost"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"n4", "f1"} {
		forwards := id == "f1"
		dir := enrol(t, id, func(c *config.Config) {
			c.Cluster.JoinTokenFile, c.Cluster.Join = write(t, []byte(cluster.token(id).String())), []string{cluster.address}
			if forwards {
				c.Raft.Enabled = config.Off
			}
		})
		if !authority.Enrolled(dir.Path) || dir.Present().Joins != "the cluster" || cluster.table.Member(id).Forwards != forwards {
			t.Errorf("%s: its identity is %+v, and the member %+v", id, dir.Present(), cluster.table.Member(id))
		}
	}
	if !cluster.table.Removed("n4", "lost") {
		t.Error("the disk that was lost is not removed")
	}
}

func TestAFounderThatEnrolsKeepsTheKeyOfTheCA(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ca.Key()
	if err != nil {
		t.Fatal(err)
	}
	dir := enrol(t, "n1", func(c *config.Config) { c.Cluster.CAKeyFile = write(t, key) })
	own, err := authority.Load(dir.Path)
	if err != nil || own.Pin() != ca.Pin() || !authority.Enrolled(dir.Path) {
		t.Errorf("its CA is %v (%v)", own, err)
	}
	if charter, err := membership.ReadCharter(dir.Path); err != nil || string(charter.CA) != string(own.Cert()) {
		t.Errorf("the charter is %+v (%v)", charter, err)
	}
}

func TestAnAgentThatIsNoLongerToEnrolGoesOn(t *testing.T) {
	if dir := enrol(t, "n1", func(*config.Config) {}); authority.Enrolled(dir.Path) || dir.Present().Joins != "" {
		t.Errorf("its identity is %+v", dir.Present())
	}
}
