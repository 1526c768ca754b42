package manifolds

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
	"github.com/interrex/interrex/transport"
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
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	says := func(name string) string {
		for _, c := range s.ready() {
			if c.Name == name && c.Err != nil {
				return c.Err.Error()
			}
		}
		return ""
	}
	if got := says("raft"); got != "raft does not run" {
		t.Errorf("without raft: %q", got)
	}
	s.Starts.started(s.name(RaftName), nil, errors.New("disk full"))
	for what, got := range map[string]string{"the probe": says("raft"), "the status": s.Status().Quorum} {
		if got != "raft does not run: disk full" {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got := says("log whole") + says("not draining"); got != "" || s.leaving() != nil || s.reluctant() != nil {
		t.Errorf("of an agent that is well: %q", got)
	}
	runs(s, RaftName, health{quarantine: errors.New("its log is short")})
	if got := says("log whole"); got != "its log is short" {
		t.Errorf("in quarantine: %q", got)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := says("not draining"); got != "the agent stops" || s.leaving() == nil {
		t.Errorf("while it drains: %q, leaving: %v", got, s.leaving())
	}
}

func TestALeaderIsReadyOnceItHasAppliedWhatWasBeforeIt(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	for _, ready := range []bool{false, true} {
		s.Leadership.Set(interrex.Leadership{Leader: true, LeaderID: "a", Term: 2, Ready: ready})
		if err := s.behind(nil, s.view()); (err == nil) != ready {
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
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	replica := func() (*fsm.Table, *statetest.Replica) {
		machine, err := fsm.New(fsm.Config{Machine: forgetful{}})
		if err != nil {
			t.Fatal(err)
		}
		return machine, statetest.NewReplica(t, func() []state.Table { return []state.Table{machine} })
	}
	_, ahead := replica()
	ahead.Do(1)
	machine, behind := replica()
	runs(s, StateName, machine)
	if err := s.reluctant(); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	if err := behind.Restore(ahead.Snapshot()); err != nil {
		t.Fatal(err)
	}
	if err := s.reluctant(); err == nil || err.Error() != "its state machine is stopped" {
		t.Errorf("stopped: %v", err)
	}
}

func TestWhoseDiskEndsHadBetterNotLead(t *testing.T) {
	c := Config{Prefix: DefaultPrefix}
	c.Agent.DataDir = t.TempDir()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	runs(s, IdentityName, &dataDir{path: filepath.Join(c.Agent.DataDir, "nowhere")}) // nobody can tell
	s.alarms.Look()
	if err := s.reluctant(); err == nil || !strings.Contains(err.Error(), "running out of space") {
		t.Errorf("%v", err)
	}
}

func TestAMemberMayLeadThatSaysSo(t *testing.T) {
	met := map[string]transport.Hello{"b": {}, "c": {Log: transport.LogState{Unfit: "halted"}}}
	peer := func(id string) (transport.Hello, bool) { said, ok := met[id]; return said, ok }
	for id, want := range map[string]bool{"b": true, "c": false, "d": false} {
		if got := mayLead(id, peer); got != want {
			t.Errorf("%s may lead: %v", id, got)
		}
	}
}
