package health

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

func TestAgentIsReadyOnlyWhenItHasCaughtUp(t *testing.T) {
	for _, c := range []struct {
		name                       string
		committed, handed, applied uint64
		idle, ready                bool
	}{
		{"its leader has sent nothing since it was started", 0, 0, 0, true, false},
		{"its leader has sent nothing since raft was restarted", 0, 5000, 5000, true, false},
		{"raft has not got it", 5000, 4999, 4999, true, false},
		{"raft has it, and the state will have it", 5000, 5000, 4999, false, false},
		{"the last entry was raft's own", 5000, 5000, 4999, true, true},
		{"as of a second ago", 5000, 5400, 5200, false, true},
		{"there", 5000, 5000, 5000, true, true},
	} {
		if err := lag(c.committed, c.handed, c.applied, c.idle); (err == nil) != c.ready {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestWhyAnAgentIsNotReadyIsSaid(t *testing.T) {
	a := newAgent(t)
	says := func(name string) string {
		for _, c := range a.health.Ready() {
			if c.Name == name && c.Err != nil {
				return c.Err.Error()
			}
		}
		return ""
	}
	if got := says("raft"); got != "raft is not running" {
		t.Errorf("without raft: %q", got)
	}
	a.view.RaftDown = errors.New("disk full")
	for what, got := range map[string]string{"the probe": says("raft"), "the status": a.health.Status().Quorum} {
		if got != "raft is not running: disk full" {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got := says("log whole") + says("not draining"); got != "" || a.health.Reluctant() != nil {
		t.Errorf("of an agent that is well: %q", got)
	}
	a.view.Vitals = vitals{quarantine: errors.New("its log is short")}
	if got := says("log whole"); got != "its log is short" {
		t.Errorf("in quarantine: %q", got)
	}
	a.view.Draining = true
	if got := says("not draining"); got != "the agent is stopping" {
		t.Errorf("while it drains: %q", got)
	}
}

func TestALeaderIsReadyOnceItHasAppliedWhatWasBeforeIt(t *testing.T) {
	a := newAgent(t)
	for _, ready := range []bool{false, true} {
		a.view.Leadership = interrex.Leadership{Leader: true, LeaderID: "a", Term: 2, Ready: ready}
		if err := a.view.behind(nil); (err == nil) != ready {
			t.Errorf("ready %v: %v", ready, err)
		}
	}
}

// forgetful is a state machine that cannot be restored.
type forgetful struct{}

func (forgetful) Apply(interrex.FSMCommand) ([]byte, error) { return nil, nil }
func (forgetful) Snapshot() ([]byte, error)                 { return nil, nil }
func (forgetful) Restore([]byte) error                      { return errors.New("no") }

func TestWhoseMachineIsStoppedHadBetterNotLead(t *testing.T) {
	a := newAgent(t)
	replica := func() (*fsm.Table, *testreplica.Replica) {
		machine, err := fsm.New(fsm.Config{Machine: forgetful{}})
		if err != nil {
			t.Fatal(err)
		}
		return machine, testreplica.New(t, func() []state.Table { return []state.Table{machine} })
	}
	_, ahead := replica()
	ahead.Do(1)
	machine, behind := replica()
	a.view.Machine = machine
	if err := a.health.Reluctant(); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	if err := behind.Restore(ahead.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := a.health.Reluctant(); err == nil || err.Error() != "its state machine is stopped" {
		t.Errorf("stopped: %v", err)
	}
}

func TestWhoseDiskEndsHadBetterNotLead(t *testing.T) {
	a := newAgent(t)
	a.view.Directory = filepath.Join(t.TempDir(), "nowhere") // its space cannot be told
	a.health.alarms.Look()
	if err := a.health.Reluctant(); err == nil || !strings.Contains(err.Error(), "running out of space") {
		t.Errorf("%v", err)
	}
}
