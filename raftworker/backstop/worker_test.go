package backstop

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/silent"
)

// scene is what one backstop sees and hears.
type scene struct {
	leader  string
	members []raft.Server
	wanted  []string
	off     map[string]bool // nil: there is no command
	absent  error           // of the dials
	down    bool            // raft does not run

	looks, dials, recoveries int
}

// lost is a cluster of three that has lost two, and whose wanted list says so.
func lost() *scene {
	return &scene{members: []raft.Server{voter("a"), voter("b"), voter("c")}, wanted: []string{"a"}}
}

func voter(id string) raft.Server { return raft.Server{ID: raft.ServerID(id)} }
func nonvoter(id string) raft.Server {
	return raft.Server{ID: raft.ServerID(id), Suffrage: raft.Nonvoter}
}

func (s *scene) config() Config {
	c := Config{
		ID: "a", Clock: clock.WallClock, Logger: silent.Logger{},
		Look: func() (Sight, bool) {
			s.looks++
			return Sight{s.leader, raft.Configuration{Servers: s.members}}, !s.down
		},
		Wanted:  func() []string { return s.wanted },
		Absent:  func(context.Context) error { s.dials++; return s.absent },
		Recover: func() { s.recoveries++ },
	}
	if s.off != nil {
		c.Off = func(_ context.Context, id string) error {
			if s.off[id] {
				return nil
			}
			return errors.New("it is on")
		}
	}
	return c
}

// play runs a backstop for some looks, before each of which change is called.
func (s *scene) play(t *testing.T, looks int, change func(look int)) (report map[string]any) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		change(1)
		w, err := NewWorker(s.config())
		if err != nil {
			t.Fatal(err)
		}
		for look := 2; look <= looks; look++ {
			time.Sleep(every / 2)
			synctest.Wait()
			change(look)
			time.Sleep(every / 2)
		}
		synctest.Wait()
		report = w.Report()
		if err := worker.Stop(w); err != nil {
			t.Error(err)
		}
	})
	return report
}

func always(int) {}

func TestTheBackstopActsOnAPositiveStatementOnly(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		why    string // empty: it acts
	}{
		"the list names only this agent":             {func(*scene) {}, ""},
		"the same, twice":                            {func(s *scene) { s.wanted = []string{"a", "a"} }, ""},
		"this agent has no vote":                     {func(s *scene) { s.members = []raft.Server{nonvoter("a"), voter("b")} }, ""},
		"this agent is the only one, without a vote": {func(s *scene) { s.members = []raft.Server{nonvoter("a")} }, ""},
		"the command says that both are off":         {func(s *scene) { s.wanted, s.off = nil, map[string]bool{"b": true, "c": true} }, ""},
		"nobody is asked about one without a vote": {func(s *scene) {
			s.wanted, s.off, s.members = nil, map[string]bool{"b": true}, []raft.Server{voter("a"), voter("b"), nonvoter("c")}
		}, ""},
		"silence":                       {func(s *scene) { s.wanted = nil }, "nobody says"},
		"a list of three":               {func(s *scene) { s.wanted = []string{"a", "b", "c"} }, "the members a, b, c"},
		"a list without this agent":     {func(s *scene) { s.wanted = []string{"b"} }, "the members b"},
		"the command says that c is on": {func(s *scene) { s.wanted, s.off = nil, map[string]bool{"b": true} }, "voter c is not known to be off: it is on"},
		"there is a leader":             {func(s *scene) { s.leader = "b" }, "there is a leader"},
		"this agent is no member":       {func(s *scene) { s.members = s.members[1:] }, "not a member"},
		"an empty log":                  {func(s *scene) { s.members = nil }, "not a member"},
		"this agent elects itself":      {func(s *scene) { s.members = s.members[:1] }, "elects itself"},
		"an agent responds":             {func(s *scene) { s.absent = errors.New("b responds") }, "b responds"},
	} {
		t.Run(name, func(t *testing.T) {
			s := lost()
			c.change(s)
			report := s.play(t, Looks+3, always)
			if why, _ := report["waits-because"].(string); (s.recoveries == 1) != (c.why == "") || !strings.Contains(why, c.why) {
				t.Errorf("%d recoveries; %v", s.recoveries, report)
			}
		})
	}
}

func TestNobodyIsDialledWithoutAStatement(t *testing.T) {
	s := lost()
	s.wanted = nil
	if s.play(t, Looks, always); s.dials > 0 {
		t.Errorf("%d dials", s.dials)
	}
}

func TestTheStatementMustBeMadeSeveralTimesInARow(t *testing.T) {
	s := lost()
	s.play(t, 3*Looks, func(look int) {
		s.wanted = []string{"a"}
		if look%Looks == 0 {
			s.wanted = []string{"a", "b", "c"}
		}
	})
	if s.recoveries > 0 {
		t.Error("statements that do not follow each other are counted together")
	}
}

func TestARestartOfRaftIsNoLook(t *testing.T) {
	s := lost()
	var recovered []int
	s.play(t, Looks+2, func(look int) {
		s.down = look == 2
		recovered = append(recovered, s.recoveries)
	})
	if s.recoveries != 1 || recovered[Looks] != 0 {
		t.Errorf("%d recoveries, %v", s.recoveries, recovered)
	}
}

func TestOneBackstopOrdersOneRecovery(t *testing.T) {
	s := lost()
	if s.play(t, 4*Looks, always); s.recoveries != 1 || s.looks != Looks {
		t.Errorf("%d recoveries after %d looks", s.recoveries, s.looks)
	}
}

func TestABackstopNeedsItsConfig(t *testing.T) {
	for word, spoil := range map[string]func(*Config){
		"ID": func(c *Config) { c.ID = "" }, "Look": func(c *Config) { c.Look = nil }, "Wanted": func(c *Config) { c.Wanted = nil },
		"Absent": func(c *Config) { c.Absent = nil }, "Recover": func(c *Config) { c.Recover = nil },
		"Clock": func(c *Config) { c.Clock = nil }, "Logger": func(c *Config) { c.Logger = nil },
	} {
		c := lost().config()
		spoil(&c)
		if _, err := NewWorker(c); err == nil || !slices.Contains(strings.Fields(err.Error()), word) {
			t.Errorf("%s: %v", word, err)
		}
	}
}
