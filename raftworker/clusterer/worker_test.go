package clusterer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// world is a cluster of which only the configuration is there.
type world struct {
	*testing.T
	table      *member.Table
	servers    []raft.Server
	sights     map[string]Sight
	index      uint64
	commit     uint64
	calls      []string
	refuse     error
	hang       bool
	unprepared error
	proposed   int
	now        state.Time
}

func newWorld(t *testing.T, founders ...string) *world {
	w := &world{T: t, table: member.New(), sights: map[string]Sight{}, index: 1, commit: 10}
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.apply(&member.SetCA{Cert: string(ca.Cert())}); err != nil {
		t.Fatal(err)
	}
	for _, id := range founders {
		w.servers = append(w.servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(id)})
		w.meet(id, "disk of "+id)
	}
	return w
}

// meet shows an agent that has everything.
func (w *world) meet(id, incarnation string) {
	w.sights[id] = Sight{
		ID: id, Incarnation: incarnation, ClusterAddress: id + ":7401", APIAddress: id + ":7400", Version: "1",
		Tables: map[string]uint16{"leases": 1, "members": 1}, Match: w.commit, Fit: true,
	}
}

// apply applies a command to the table.
func (w *world) apply(c state.Command) error {
	decoded, err := w.table.Decode(c.Append(nil))
	if err == nil {
		err = w.table.Check(w.now, decoded)
	}
	if err == nil {
		w.table.Apply(&state.Turn{Revision: 1, Now: w.now, Wall: testreplica.Wall(w.now), Table: machine.MemberTable}, decoded)
	}
	return err
}

// admit admits an agent without a certificate: only the row counts here.
func (w *world) admit(id string) {
	w.Helper()
	token := jointoken.New(jointoken.Pin{})
	public := token.PublicKey()
	if err := w.apply(&member.CreateJoinToken{Key: string(public), Uses: 1, TTL: time.Hour}); err != nil {
		w.Fatal(err)
	}
	session, sum := jointoken.Session{}, [32]byte{}
	key := append([]byte("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"), public...) // PKIX of Ed25519
	seed := ed25519.NewKeyFromSeed(token.Seed[:])
	err := w.apply(&member.Admit{
		ID: id, Token: token.ID(), Key: string(key), Session: string(session[:]), Request: string(sum[:]),
		Signature: string(ed25519.Sign(seed, jointoken.Statement(session, sum))),
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) config(id string) Config {
	return Config{
		ID: id, Raft: w, Table: w.table, Clock: clock.WallClock, Logger: silent.Logger{},
		Look: func() (all []Sight) {
			for _, s := range w.sights {
				all = append(all, s)
			}
			return all
		},
		Propose: func(_ context.Context, c state.Command) error {
			w.proposed++
			return w.apply(c)
		},
		Prepare: func(_ context.Context, id string) error {
			w.calls = append(w.calls, "prepare "+id)
			return w.unprepared
		},
	}
}

// settle looks until nothing changes, and returns what was done.
func (w *world) settle(c *Worker) string {
	w.Helper()
	w.calls = nil
	for n := 0; ; n++ {
		changed, err := c.look(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		if !changed {
			break
		}
		if n > 50 {
			w.Fatalf("it does not settle: %v", w.calls)
		}
	}
	return strings.Join(w.calls, ", ")
}

type future struct {
	err   error
	index uint64
	c     raft.Configuration
	hang  chan struct{}
}

func (f future) Error() error {
	if f.hang != nil {
		<-f.hang
	}
	return f.err
}
func (f future) Index() uint64                     { return f.index }
func (f future) Configuration() raft.Configuration { return f.c }

func (w *world) GetConfiguration() raft.ConfigurationFuture {
	return future{index: w.index, c: raft.Configuration{Servers: slices.Clone(w.servers)}}
}
func (w *world) CommitIndex() uint64 { return w.commit }

// change records a call, and does it as raft would.
func (w *world) change(call string, id raft.ServerID, prev uint64, do func(i int)) raft.IndexFuture {
	w.calls = append(w.calls, fmt.Sprint(call, " ", id))
	if w.hang {
		end := make(chan struct{})
		w.Cleanup(func() { close(end) })
		return future{hang: end}
	}
	if w.refuse != nil {
		return future{err: w.refuse}
	}
	if prev != w.index {
		return future{err: fmt.Errorf("the configuration is of %d, not of %d", w.index, prev)}
	}
	w.index++
	do(slices.IndexFunc(w.servers, func(s raft.Server) bool { return s.ID == id }))
	return future{}
}

func (w *world) AddNonvoter(id raft.ServerID, address raft.ServerAddress, prev uint64, _ time.Duration) raft.IndexFuture {
	return w.change("add", id, prev, func(int) {
		w.servers = append(w.servers, raft.Server{ID: id, Address: address, Suffrage: raft.Nonvoter})
	})
}

func (w *world) AddVoter(id raft.ServerID, _ raft.ServerAddress, prev uint64, _ time.Duration) raft.IndexFuture {
	return w.change("promote", id, prev, func(i int) { w.servers[i].Suffrage = raft.Voter })
}

func (w *world) DemoteVoter(id raft.ServerID, prev uint64, _ time.Duration) raft.IndexFuture {
	return w.change("demote", id, prev, func(i int) { w.servers[i].Suffrage = raft.Nonvoter })
}

func (w *world) RemoveServer(id raft.ServerID, prev uint64, _ time.Duration) raft.IndexFuture {
	return w.change("remove", id, prev, func(i int) { w.servers = slices.Delete(w.servers, i, i+1) })
}

func (w *world) LeadershipTransferToServer(id raft.ServerID, _ raft.ServerAddress) raft.Future {
	return w.change("hand over to", id, w.index, func(int) {})
}

func TestFoundersBecomeMembers(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	c := &Worker{config: w.config("a")}
	if done := w.settle(c); done != "" {
		t.Errorf("raft's configuration was changed: %s", done)
	}
	m := w.table.Member("b")
	if m == nil || m.Incarnation != "disk of b" || m.ClusterAddress != "b:7401" || m.APIAddress != "b:7400" || m.Version != "1" ||
		!slices.Equal(m.Tables, []member.TableVersion{{Name: "leases", Version: 1}, {Name: "members", Version: 1}}) {
		t.Errorf("b is %+v", m)
	}
	w.settle(c)
	if w.proposed != 3 {
		t.Errorf("%d proposals for three agents", w.proposed)
	}
	moved := w.sights["b"]
	moved.ClusterAddress = "elsewhere:7401"
	w.sights["b"] = moved
	w.settle(c)
	if m := w.table.Member("b"); m.ClusterAddress != "elsewhere:7401" || w.proposed != 4 {
		t.Errorf("b is %+v after %d proposals", m, w.proposed)
	}
}

func TestFoundersOfAClusterWithoutACAAreNotRecorded(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.table = member.New()
	if done := w.settle(&Worker{config: w.config("a")}); done != "" || len(w.table.Members()) != 0 {
		t.Errorf("%s, %v", done, w.table.Members())
	}
}

// In a cluster without a CA founders are recorded once the leader wants it, also one
// that it has not met, and once there is any member.
func TestFoundersAreRecordedOnceSomethingIsToBeChanged(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	w.table = member.New()
	delete(w.sights, "c")
	c := w.config("a")
	var wanted map[string]string
	c.Founders = func() map[string]string { return wanted }
	worker := &Worker{config: c}
	if w.settle(worker); len(w.table.Members()) != 0 {
		t.Errorf("recorded too early: %v", w.table.Members())
	}
	wanted = map[string]string{"a": "disk of a", "b": "disk of b", "c": "disk of c", "gone": "disk"}
	w.settle(worker)
	if b, c := w.table.Member("b"), w.table.Member("c"); w.proposed != 3 || b.ClusterAddress != "b:7401" || c.Incarnation != "disk of c" || c.ClusterAddress != "" {
		t.Errorf("%d are recorded: %+v, %+v", w.proposed, b, c)
	}
	another := newWorld(t, "a", "b")
	another.table = member.New()
	if err := another.apply(&member.Add{ID: "d", Address: "d:7401"}); err != nil {
		t.Fatal(err)
	}
	if another.settle(&Worker{config: another.config("a")}); len(another.table.Members()) != 3 {
		t.Errorf("beside one that was added there are %v", another.table.Members())
	}
}

func TestAnAdmittedAgentIsAddedAndGetsAVote(t *testing.T) {
	w := newWorld(t, "a")
	c := &Worker{config: w.config("a")}
	w.settle(c)
	w.meet("stranger", "disk")
	w.admit("b")
	if done := w.settle(c); done != "" {
		t.Errorf("nobody was seen who was admitted, and %s", done)
	}
	w.meet("b", "disk of b")
	w.admit("c")
	w.meet("c", "disk of c")
	behind := w.sights["c"]
	behind.Match = w.commit - 1
	w.sights["c"] = behind
	if done := w.settle(c); done != "add b, add c" {
		t.Errorf("%s", done)
	}
	behind.Match = w.commit
	w.sights["c"] = behind
	if done := w.settle(c); done != "prepare b, promote b, prepare c, promote c" {
		t.Errorf("%s", done)
	}
	if w.table.Member("stranger") != nil {
		t.Error("a stranger is a member")
	}
}

func TestAnAgentThatIsNotPreparedGetsNoVote(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.admit("c")
	w.meet("c", "disk of c")
	c := &Worker{config: w.config("a")}
	w.unprepared = errors.New("the key is not here")
	for range 20 {
		if _, err := c.look(t.Context()); err != nil {
			if !strings.Contains(err.Error(), "promoting c failed: the key is not here") {
				t.Fatal(err)
			}
			break
		}
	}
	if last := w.calls[len(w.calls)-1]; last != "prepare c" {
		t.Errorf("%v", w.calls)
	}
}

func TestAnAgentThatJustArrivedHasNotCaughtUp(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.admit("c")
	w.meet("c", "disk of c")
	c := &Worker{config: w.config("a")}
	if _, err := c.look(t.Context()); err != nil || c.commit != 10 {
		t.Fatal(err)
	}
	w.commit = 20 // and it has 10, which was everything at the previous look
	if done := w.settle(c); done != "add c" {
		t.Errorf("%s", done)
	}
}

func TestARemovedAgentLeavesRaft(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	c := &Worker{config: w.config("a")}
	w.settle(c)
	if err := w.apply(&member.Remove{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	w.admit("c") // with a new disk, before it is out
	w.meet("c", "another disk")
	done := w.settle(c)
	if done != "remove c, add c, prepare c, promote c" {
		t.Errorf("%s", done)
	}
	if m := w.table.Member("c"); m.Incarnation != "another disk" {
		t.Errorf("c is %+v", m)
	}
}

// One that has died a second ago does not count as silent yet.
func TestNoVoterGoesRightAfterAnotherHasDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		config, died := w.config("a"), time.Time{}
		look := config.Look
		config.Look = func() []Sight {
			all := look()
			for i := range all {
				switch {
				case all[i].ID == "a":
				case all[i].ID == "c" && !died.IsZero():
					all[i].Silent = time.Since(died)
				default:
					all[i].Silent = 40 * time.Millisecond
				}
			}
			return all
		}
		c := &Worker{config: config}
		w.settle(c)
		if err := w.apply(&member.Remove{ID: "b"}); err != nil {
			t.Fatal(err)
		}
		died = time.Now()
		time.Sleep(time.Second)
		if done := w.settle(c); done != "" {
			t.Errorf("after c has died: %s", done)
		}
		died = time.Time{}
		if done := w.settle(c); done != "remove b" {
			t.Errorf("once c answers again: %q", done)
		}
	})
}

// It may still be met, on the disk that was removed; one that returns comes with another.
func TestARemovedDiskIsInNobodysWay(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	config := w.config("a")
	config.Founders = func() map[string]string { return map[string]string{"c": "disk of c"} }
	c := &Worker{config: config}
	w.settle(c)
	if err := w.apply(&member.Remove{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	if done := w.settle(c); done != "remove c" || w.table.Member("c") != nil {
		t.Errorf("%s, %+v", done, w.table.Member("c"))
	}
	w.admit("c")
	if done := w.settle(c); done != "" || w.table.Member("c").Incarnation != "" {
		t.Errorf("%s, %+v", done, w.table.Member("c"))
	}
}

func TestOnlyWhatIsSeenNowIsRecorded(t *testing.T) {
	w := newWorld(t, "a", "b")
	c := &Worker{config: w.config("a")}
	w.settle(c)
	moved := w.sights["b"]
	moved.ClusterAddress, moved.Silent = "elsewhere:7401", silentAfter+1
	w.sights["b"] = moved
	w.admit("c")
	w.meet("c", "") // before it knows its disk
	if done := w.settle(c); done != "" || w.table.Member("b").ClusterAddress != "b:7401" {
		t.Errorf("%s, %+v", done, w.table.Member("b"))
	}
}

// Who is silent, may not lead or has not been compared with this leader's log yet gets no
// vote.
func TestASpareIsFitNow(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.admit("c")
	w.meet("c", "disk of c")
	c := &Worker{config: w.config("a")}
	see := func(match uint64, silent time.Duration, fit bool) string {
		t.Helper()
		one := w.sights["c"]
		one.Match, one.Silent, one.Fit = match, silent, fit
		w.sights["c"] = one
		return w.settle(c)
	}
	if done := see(0, 0, true); done != "add c" {
		t.Fatal(done)
	}
	if done := see(w.commit, 0, false); done != "" {
		t.Errorf("unfit: %s", done)
	}
	if done := see(w.commit, silentAfter+1, true); done != "" {
		t.Errorf("silent: %s", done)
	}
	c = &Worker{config: w.config("a")} // of a leader that has just been elected
	if done := see(0, 0, true); done != "" {
		t.Errorf("not compared yet: %s", done)
	}
	w.commit++ // under load it has what was committed at the previous look
	if done := see(w.commit-1, 0, true); done != "prepare c, promote c" {
		t.Errorf("fit: %s", done)
	}
}

func TestADiskThatTheClusterDoesNotKnowChangesNothing(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	c := &Worker{config: w.config("a")}
	w.settle(c)
	w.meet("c", "another disk")
	if done := w.settle(c); done != "" || w.table.Member("c").Incarnation != "disk of c" {
		t.Errorf("%s, %+v", done, w.table.Member("c"))
	}
}

func TestADiskThatTheClusterDoesNotKnowGetsNoVote(t *testing.T) {
	w := newWorld(t, "a", "b")
	c := &Worker{config: w.config("a")}
	w.admit("c")
	w.meet("c", "disk of c")
	behind := w.sights["c"]
	behind.Match = 0
	w.sights["c"] = behind
	if done := w.settle(c); done != "add c" {
		t.Fatal(done)
	}
	w.meet("c", "another disk")
	if done := w.settle(c); done != "" {
		t.Error(done)
	}
	w.meet("c", "disk of c")
	if done := w.settle(c); done != "prepare c, promote c" {
		t.Error(done)
	}
}

// After a restart of all machines the first leader has not met those that start later.
func TestAVoterThatWasNeverMetIsNotDeadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		w.admit("d")
		w.meet("d", "disk of d")
		w.settle(&Worker{config: w.config("a")})
		w.calls = nil
		delete(w.sights, "c")
		c, err := NewWorker(w.config("a"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(DeadAfter - time.Second)
		synctest.Wait()
		if len(w.calls) != 0 {
			t.Errorf("early: %v", w.calls)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if done := strings.Join(w.calls, ", "); done != "prepare d, promote d, demote c" {
			t.Errorf("%s", done)
		}
		c.Kill()
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// counting counts lines.
type counting struct {
	silent.Logger
	lines int
}

func (c *counting) Infof(string, ...any) { c.lines++ }

func TestAFailedChangeIsReportedAndTriedAgain(t *testing.T) {
	w := newWorld(t, "a", "b", "c")
	c := &Worker{config: w.config("a")}
	w.settle(c)
	if err := w.apply(&member.SetVoter{ID: "c"}); err != nil {
		t.Fatal(err)
	}
	w.refuse = errors.New("no quorum")
	log := &counting{}
	c.config.Logger = log
	for range 3 {
		if changed, err := c.look(t.Context()); changed || err == nil || !strings.Contains(err.Error(), "demoting c failed: no quorum") {
			t.Errorf("%v, %v", changed, err)
		}
	}
	if log.lines != 1 {
		t.Errorf("a step that is tried again is logged %d times", log.lines)
	}
	if r := c.Report(); r["phase"] != "stable" || r["last-error"] != "no quorum" {
		t.Errorf("it reports %v", r)
	}
	w.refuse = nil
	if done := w.settle(c); done != "demote c" {
		t.Errorf("%s", done)
	}
	if r := c.Report(); r["last-error"] != nil {
		t.Errorf("it reports %v", r)
	}
}

// A change that raft never answers is given up after a while, and with the worker.
func TestAChangeIsNotWaitedForForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "a", "b", "c")
		w.settle(&Worker{config: w.config("a")})
		if err := w.apply(&member.SetVoter{ID: "c"}); err != nil {
			t.Fatal(err)
		}
		w.hang = true
		c, err := NewWorker(w.config("a"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // it is tried again
			synctest.Wait()
			if r := c.Report(); r["phase"] != "demoting" || r["member"] != "c" {
				t.Errorf("it reports %v", r)
			}
			time.Sleep(changeTimeout)
			synctest.Wait()
			if _, failed := c.Step(); !strings.Contains(failed, "took longer than 10s") {
				t.Errorf("it failed with %q", failed)
			}
			time.Sleep(every)
		}
		synctest.Wait()
		before := time.Now()
		c.Kill()
		if err := c.Wait(); err != nil || time.Since(before) > 0 {
			t.Errorf("it ends after %s: %v", time.Since(before), err)
		}
	})
}

func TestWhatOthersDoForTheLeaderIsBounded(t *testing.T) {
	w := newWorld(t, "a", "b")
	w.admit("c")
	w.meet("c", "disk of c")
	config := w.config("a")
	propose, prepare := config.Propose, config.Prepare
	bounded := func(ctx context.Context) {
		if end, is := ctx.Deadline(); !is || time.Until(end) > changeTimeout {
			t.Errorf("until %v, %v", end, is)
		}
	}
	config.Propose = func(ctx context.Context, c state.Command) error { bounded(ctx); return propose(ctx, c) }
	config.Prepare = func(ctx context.Context, id string) error { bounded(ctx); return prepare(ctx, id) }
	if done := w.settle(&Worker{config: config}); done != "add c, prepare c, promote c" {
		t.Errorf("%s", done)
	}
}

func TestAConfigurationThatIsNotValid(t *testing.T) {
	w := newWorld(t, "a")
	for name, unset := range map[string]func(*Config){
		"ID":      func(c *Config) { c.ID = "" },
		"Raft":    func(c *Config) { c.Raft = nil },
		"Table":   func(c *Config) { c.Table = nil },
		"Look":    func(c *Config) { c.Look = nil },
		"Propose": func(c *Config) { c.Propose = nil },
		"Clock":   func(c *Config) { c.Clock = nil },
		"Logger":  func(c *Config) { c.Logger = nil },
	} {
		c := w.config("a")
		unset(&c)
		if _, err := NewWorker(c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
