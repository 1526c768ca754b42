package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// cluster is some agents that compare their states, in virtual time.
type cluster struct {
	*testing.T
	members []raft.Server
	agents  map[string]*agent
	leader  string
	index   uint64       // of the log
	begun   int          // comparisons that the leader has proposed
	refuse  error        // of a proposal
	broken  error        // of raft's configuration
	frozen  atomic.Int64 // states that are not released
	errors  atomic.Int64 // that are logged
	off     bool
}

type agent struct {
	id        string
	board     *Board
	state     *machine.State
	worker    *Worker
	condemned []error
	silent    bool // it does not respond
	behind    bool // it applies nothing
}

// newCluster makes one of the agents with these IDs; one that begins with n has no vote.
func newCluster(t *testing.T, ids ...string) *cluster {
	c := &cluster{T: t, agents: map[string]*agent{}, leader: ids[0]}
	for _, id := range ids {
		s := raft.Server{ID: raft.ServerID(id), Suffrage: raft.Voter}
		if strings.HasPrefix(id, "n") {
			s.Suffrage = raft.Nonvoter
		}
		c.members = append(c.members, s)
		c.agents[id] = c.start(id)
	}
	t.Cleanup(func() {
		for _, a := range c.agents {
			a.worker.Kill()
			if err := a.worker.Wait(); !errors.Is(err, c.broken) {
				t.Errorf("%s: %v", a.id, err)
			}
			a.board.End()
		}
		if n := c.frozen.Load(); n != 0 {
			t.Errorf("%d states are not released", n)
		}
	})
	return c
}

func (c *cluster) start(id string) *agent {
	a := &agent{id: id, board: NewBoard(clock.WallClock)}
	a.board.Begin()
	var err error
	if a.state, err = machine.New(machine.Config{Tables: []state.Table{counted{testtable.NewRegister(), c}}, Frozen: a.board.Put}); err != nil {
		c.Fatal(err)
	}
	a.worker, err = NewWorker(Config{
		ID: id, Board: a.board, Raft: c, Revision: a.state.Revision,
		Schedule: func() (bool, time.Duration, uint64) { return !c.off, 10 * time.Minute, 100 },
		Leads:    func([]raft.Server) bool { return c.leader == id },
		Propose: func(ctx context.Context) error {
			if _, is := ctx.Deadline(); !is {
				c.Error("nothing bounds a proposal")
			}
			c.begun++
			if c.refuse == nil {
				c.apply(machine.SystemTable, (&machine.Compare{}).Append(nil))
			}
			return c.refuse
		},
		Exchange: func(_ context.Context, peer string, mine Report) (Report, error) {
			if peer == id {
				c.Errorf("%s asks itself", id)
			}
			other := c.agents[peer]
			if other.silent || a.silent {
				return Report{}, errors.New("no response")
			}
			other.board.note(id, mine)
			theirs, has := other.board.reports(mine.At)[peer]
			if !has {
				return Report{}, errNone(peer, mine.At)
			}
			return theirs, nil
		},
		Condemn: func(why error) { a.condemned = append(a.condemned, why) },
		Metrics: NewMetrics(), Clock: clock.WallClock, Logger: noting{silent.Logger{}, c},
	})
	if err != nil {
		c.Fatal(err)
	}
	return a
}

// counted is a table that counts what is frozen of it.
type counted struct {
	*testtable.Register
	of *cluster
}

func (t counted) Freeze() state.View {
	t.of.frozen.Add(1)
	return view{t.Register.Freeze(), t.of}
}

type view struct {
	state.View
	of *cluster
}

func (v view) Release() { v.of.frozen.Add(-1) }

// noting counts errors.
type noting struct {
	silent.Logger
	of *cluster
}

func (n noting) Errorf(string, ...any) { n.of.errors.Add(1) }

// GetConfiguration is part of what a Worker needs of raft.
func (c *cluster) GetConfiguration() raft.ConfigurationFuture {
	return configuration{c.members, c.broken}
}

type configuration struct {
	members []raft.Server
	err     error
}

func (c configuration) Error() error  { return c.err }
func (c configuration) Index() uint64 { return 1 }
func (c configuration) Configuration() raft.Configuration {
	return raft.Configuration{Servers: c.members}
}

// apply applies one entry everywhere.
func (c *cluster) apply(table state.TableID, data []byte) {
	c.index++
	e := &machine.Entry{Stamp: 1, Wall: testreplica.Wall(1), Operations: []state.Operation{{Table: table, Data: data}}}
	for _, a := range c.agents {
		if !a.behind {
			a.state.Apply(&raft.Log{Type: raft.LogCommand, Index: c.index, Term: 1, Data: e.Append(nil)})
		}
	}
}

func (c *cluster) write(n int) {
	for range n {
		c.apply(testtable.RegisterTable, testtable.Set(fmt.Sprint("k", c.index), "text", 0))
	}
}

// corrupt makes the state of some agents another one, at no revision more.
func (c *cluster) corrupt(text string, ids ...string) {
	c.index++
	for id, a := range c.agents {
		wrong := "text"
		if slices.Contains(ids, id) {
			wrong = text
		}
		e := &machine.Entry{Stamp: 1, Operations: []state.Operation{{Table: testtable.RegisterTable, Data: testtable.Set("k", wrong, 0)}}}
		a.state.Apply(&raft.Log{Type: raft.LogCommand, Index: c.index, Term: 1, Data: e.Append(nil)})
	}
}

// pass lets time pass until everybody waits.
func (c *cluster) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantCondemned checks who has condemned its state.
func (c *cluster) wantCondemned(ids ...string) {
	c.Helper()
	for id, a := range c.agents {
		if slices.Contains(ids, id) != (len(a.condemned) == 1) {
			c.Errorf("%s has condemned its state: %v", id, a.condemned)
		}
	}
}

func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestStatesAreComparedAfterATimeOrManyRevisions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		c.write(99)
		c.pass(9 * time.Minute)
		if c.begun != 0 {
			t.Fatalf("%d comparisons before it is time", c.begun)
		}
		c.pass(2 * time.Minute)
		if last := c.agents["b"].board.Last(); c.begun != 1 || !last.Agreed() || last.LogIndex != 100 || len(last.Reports) != 3 {
			t.Fatalf("%d comparisons: %+v", c.begun, last)
		}
		c.write(100)
		if c.pass(2 * time.Second); c.begun != 2 {
			t.Fatalf("%d comparisons after many revisions", c.begun)
		}
		c.wantCondemned()
	})
}

func TestAnIdleClusterComparesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		c.pass(time.Hour)
		c.write(1)
		c.pass(24 * time.Hour)
		if c.begun != 1 {
			t.Errorf("%d comparisons after one write", c.begun)
		}
	})
}

func TestADifferenceIsLookedAtAgainInAnIdleCluster(t *testing.T) {
	b := NewBoard(clock.WallClock)
	b.revision, b.at = 7, time.Now().Add(-time.Hour)
	if b.due(7, time.Minute, 100) {
		t.Error("nothing was written, and nothing differed")
	}
	b.show(&interrex.Comparison{LogIndex: 7, Complete: true, Differences: []string{"s"}})
	if !b.due(7, time.Minute, 100) || b.due(7, 2*time.Hour, 100) {
		t.Error("it is not looked at again when it is time")
	}
}

func TestNoComparisonIsBegunWithoutNeed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		c.write(100)
		c.off = true
		if c.pass(time.Hour); c.begun != 0 {
			t.Error("it is switched off")
		}
		c.off, c.leader = false, ""
		if c.pass(time.Hour); c.begun != 0 {
			t.Error("none leads")
		}
		c.leader, c.refuse = "a", errors.New("no")
		if c.pass(time.Minute); c.begun < 5 || c.begun > 7 {
			t.Errorf("refused %d times in a minute", c.begun)
		}
	})
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a")
		c.write(100)
		if c.pass(time.Hour); c.begun != 0 {
			t.Error("an agent compares itself with itself")
		}
	})
}

func TestOneThatDiffersCondemnsItself(t *testing.T) {
	for name, c := range map[string]struct {
		of, bad []string
		wrong   []string // that condemn themselves
	}{
		"one of three":           {[]string{"a", "b", "c"}, []string{"c"}, []string{"c"}},
		"the leader":             {[]string{"a", "b", "c"}, []string{"a"}, []string{"a"}},
		"one without a vote":     {[]string{"a", "b", "n"}, []string{"n"}, []string{"n"}},
		"one of two":             {[]string{"a", "b"}, []string{"b"}, nil},
		"two of four":            {[]string{"a", "b", "c", "d"}, []string{"c", "d"}, nil},
		"two of five":            {[]string{"a", "b", "c", "d", "e"}, []string{"c", "d"}, []string{"c", "d"}},
		"one against those that": {[]string{"a", "b", "n", "n2", "n3"}, []string{"b", "n", "n2", "n3"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newCluster(t, c.of...)
				w.corrupt("teXt", c.bad...)
				w.write(100)
				w.pass(2 * time.Minute)
				w.wantCondemned(c.wrong...)
				if n := w.errors.Load(); n != int64(len(c.of)) {
					t.Errorf("%d errors are logged", n)
				}
				for id, a := range w.agents {
					last := a.board.Last()
					if len(last.Differences) != 1 || !last.Complete || last.Agreed() {
						t.Errorf("%s: %+v", id, last)
					}
					for _, bad := range c.bad {
						if !strings.Contains(last.Differences[0], bad) || !strings.Contains(last.Differences[0], "register-256") {
							t.Errorf("%s says %q", id, last.Differences)
						}
					}
				}
			})
		})
	}
}

func TestAVerdictNeedsAMajorityOfThePresentVoters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		c.agents["b"].silent = true
		c.corrupt("teXt", "c")
		c.write(100)
		c.pass(time.Minute)
		c.wantCondemned()
		if last := c.agents["c"].board.Last(); !last.Complete || !slices.Equal(last.Missing, []string{"b"}) {
			t.Errorf("%+v", last)
		}
	})
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c", "n")
		c.agents["n"].silent = true
		c.corrupt("teXt", "c", "b")
		c.members[1].Suffrage = raft.Nonvoter // b has lost its vote, and d is new
		c.members[3].Suffrage = raft.Voter
		c.write(100)
		c.pass(time.Minute)
		c.wantCondemned()
	})
}

func TestTheReportOfOneThatIsNoMemberDoesNotCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		c.corrupt("teXt", "b", "c")
		c.members = c.members[:2] // c was removed
		c.write(100)
		c.pass(time.Minute)
		c.wantCondemned()
		if last := c.agents["a"].board.Last(); len(last.Reports) != 2 {
			t.Errorf("%+v", last)
		}
	})
}

// A state that waits to be hashed is released when another one takes its place.
func TestAStateThatIsReplacedIsReleased(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a")
		a := c.agents["a"]
		a.worker.Kill()
		_ = a.worker.Wait()
		for range 2 {
			c.apply(machine.SystemTable, (&machine.Compare{}).Append(nil))
		}
		if n := c.frozen.Load(); n != 1 {
			t.Errorf("%d states wait", n)
		}
		a.board.Begin()
		if n := c.frozen.Load(); n != 0 {
			t.Errorf("%d states wait once there is another one", n)
		}
	})
}

// Raft may end before those that use it.
func TestAComparisonEndsWithRaft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b")
		c.broken = errors.New("raft is shut down")
		c.apply(machine.SystemTable, (&machine.Compare{}).Append(nil))
		c.pass(time.Minute)
		select {
		case <-c.agents["b"].worker.catacomb.Dead():
		default:
			t.Error("it goes on")
		}
	})
}

func TestFewExchangesAreUnderWayAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var now, most atomic.Int64
		w := &Worker{config: Config{Board: NewBoard(clock.WallClock), Exchange: func(context.Context, string, Report) (Report, error) {
			n := now.Add(1)
			time.Sleep(time.Second)
			most.Store(max(most.Load(), n))
			now.Add(-1)
			return Report{}, nil
		}}}
		w.exchange(t.Context(), Report{}, make([]string, 3*atOnce))
		if most.Load() != atOnce || now.Load() != 0 {
			t.Errorf("%d at once, and %d are not over", most.Load(), now.Load())
		}
	})
}

func TestThoseThatAreMissingAreInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "d", "c", "b")
		for _, id := range []string{"b", "c", "d"} {
			c.agents[id].silent = true
		}
		c.write(100)
		c.pass(time.Minute)
		if last := c.agents["a"].board.Last(); !slices.Equal(last.Missing, []string{"b", "c", "d"}) {
			t.Errorf("%q", last.Missing)
		}
	})
}

func TestComparisonsAreMeasured(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b")
		all := prometheus.NewRegistry()
		all.MustRegister(c.agents["a"].worker.config.Metrics)
		want := func(index, differences float64) {
			t.Helper()
			families, err := all.Gather()
			if err != nil || len(families) != 3 {
				t.Fatalf("%d metrics, %v", len(families), err)
			}
			agreed, found, hashed := families[0].GetMetric()[0], families[1].GetMetric()[0], families[2].GetMetric()[0]
			if agreed.GetGauge().GetValue() != index || found.GetCounter().GetValue() != differences || hashed.GetHistogram().GetSampleCount() != uint64(c.begun) {
				t.Errorf("after %d comparisons: %v, %v, %v", c.begun, agreed, found, hashed)
			}
		}
		c.write(100)
		c.pass(2 * time.Second)
		want(101, 0)
		c.corrupt("teXt", "b")
		c.write(100)
		c.pass(2 * time.Second)
		want(101, 1)
	})
}

func TestOneThatIsBehindHasNoReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		c.agents["c"].behind = true
		c.write(100)
		c.pass(20 * time.Second)
		if last := c.agents["a"].board.Last(); last.Complete {
			t.Errorf("it is not waited for: %+v", last)
		}
		c.pass(time.Minute)
		if last := c.agents["a"].board.Last(); !last.Complete || !last.Agreed() || len(last.Reports) != 2 || !slices.Equal(last.Missing, []string{"c"}) {
			t.Errorf("%+v", last)
		}
		if c.agents["c"].board.Last() != nil {
			t.Error("it has compared")
		}
	})
}

func TestANewerComparisonEndsOneThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b", "c")
		c.agents["c"].behind = true
		c.write(100)
		c.pass(2 * time.Second)
		first := c.agents["a"].board.Last()
		c.agents["c"].behind = false
		c.apply(machine.SystemTable, (&machine.Compare{}).Append(nil))
		c.pass(2 * time.Second)
		if last := c.agents["a"].board.Last(); last.LogIndex <= first.LogIndex {
			t.Errorf("%+v after %+v", last, first)
		}
	})
}

// What an agent reports of its state, and what waits to be hashed, ends with the state.
func TestANewStateBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t, "a", "b")
		c.write(100)
		c.pass(2 * time.Second)
		b := c.agents["a"].board
		at := machine.ComparedEntry{Index: 101, Term: 1}
		if len(b.reports(at)) != 2 {
			t.Fatal("there are no reports")
		}
		why := errors.New("it is wrong")
		b.Condemn(why, "there")
		b.Condemn(errors.New("another reason"), "elsewhere")
		if b.Condemned() != why || b.Last().Kept != "there" {
			t.Error(b.Condemned(), b.Last().Kept)
		}
		condemned := b.Begin()
		if b.Condemned() != nil || len(b.reports(at)) != 0 || b.Last() == nil {
			t.Errorf("%v, %d reports, %v", b.Condemned(), len(b.reports(at)), b.Last())
		}
		b.Condemn(why, "")
		<-condemned
		b.show(&interrex.Comparison{LogIndex: 101, Complete: true})
		if len(b.Last().Reports) != 2 {
			t.Error("the same entry, again, takes the place of what was found there")
		}
		if b.show(&interrex.Comparison{LogIndex: 102}); b.Last().LogIndex != 102 {
			t.Error("a later entry does not")
		}
	})
}

// Neither one that is under way nor one without a member that differed shows that all
// agree again.
func TestADifferenceLastsUntilThoseThatDifferedAgree(t *testing.T) {
	of := func(ids ...string) map[string][]interrex.StateSection {
		reports := map[string][]interrex.StateSection{}
		for _, id := range ids {
			reports[id] = []interrex.StateSection{{Name: "s"}}
		}
		return reports
	}
	for name, c := range map[string]struct {
		later interrex.Comparison
		lasts bool
	}{
		"one under way":              {interrex.Comparison{Reports: of("a")}, true},
		"one without b":              {interrex.Comparison{Complete: true, Reports: of("a", "c"), Missing: []string{"b"}}, true},
		"all agree":                  {interrex.Comparison{Complete: true, Reports: of("a", "b")}, false},
		"a newer member is missing":  {interrex.Comparison{Complete: true, Reports: of("a", "b"), Missing: []string{"c"}}, false},
		"b was removed":              {interrex.Comparison{Complete: true, Reports: of("a")}, false},
		"there is a newer one still": {interrex.Comparison{Complete: true, Reports: of("a", "b"), Differences: []string{"t"}}, true},
	} {
		b := NewBoard(clock.WallClock)
		b.show(&interrex.Comparison{LogIndex: 7, Complete: true, Reports: of("a", "b"), Differences: []string{"s"}})
		c.later.LogIndex = 8
		b.show(&c.later)
		if b.Differs() != nil != c.lasts || b.Last() != &c.later {
			t.Errorf("%s: %+v", name, b.Differs())
		}
		if b.Condemn(errors.New("it is wrong"), "there"); c.lasts && b.Differs().Kept != "there" {
			t.Errorf("%s: %+v", name, b.Differs())
		}
	}
}

func TestABoardKeepsFewRounds(t *testing.T) {
	b := NewBoard(clock.WallClock)
	st, err := machine.New(machine.Config{Frozen: b.Put})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(10) {
		e := &machine.Entry{Operations: []state.Operation{{Table: machine.SystemTable, Data: (&machine.Compare{}).Append(nil)}}}
		st.Apply(&raft.Log{Type: raft.LogCommand, Index: i + 1, Term: 1, Data: e.Append(nil)})
	}
	if len(b.rounds) != maxRounds || b.rounds[maxRounds-1].at.Index != 10 {
		t.Errorf("%d rounds", len(b.rounds))
	}
	at := machine.ComparedEntry{Index: 10, Term: 1}
	for i := range 2 * maxReports {
		b.note(fmt.Sprint(i), Report{At: at})
	}
	b.note("a", Report{At: machine.ComparedEntry{Index: 11, Term: 1}})
	if n := len(b.reports(at)); n != maxReports {
		t.Errorf("%d reports", n)
	}
	b.End()
	if f, _ := b.take(); f != nil {
		t.Error("a state that has ended is still there")
	}
}

// An agent that is filled anew comes by the entry again, with another state.
func TestAnAgentsFirstReportStays(t *testing.T) {
	at := machine.ComparedEntry{Index: 7, Term: 1}
	b := NewBoard(clock.WallClock)
	b.rounds = []*round{{at, map[string]Report{}}}
	for _, hash := range []string{"x", "y"} {
		b.note("a", Report{At: at, Sections: []interrex.StateSection{{Name: "s", Version: 1, Hash: hash}}})
	}
	if got := b.reports(at)["a"].Sections[0].Hash; got != "x" {
		t.Errorf("it is %q", got)
	}
}
