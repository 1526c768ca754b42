package raftworker

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"

	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/raftrules"
)

func TestRaftIsOpenToItsMembersAlone(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	r := w.life.rules
	err := r.OpenTo(peering.Hello{ID: "x"})
	if err == nil || err.Error() != "raft on a is open only to the members of its cluster (a): agent x is not one of them" || errors.Is(err, peering.ErrNotNow) {
		t.Errorf("to a stranger: %v", err)
	}
	ahead := peering.Hello{ID: "x", Log: peering.LogState{End: peering.Place{Term: 1 << 40}}}
	if err := r.OpenTo(ahead); err != nil {
		t.Errorf("to one that may have been added since: %v", err)
	}
	running, err := w.Raft()
	if err != nil {
		t.Fatal(err)
	}
	if err := running.AddNonvoter("x", "x", 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	if err := r.OpenTo(peering.Hello{ID: "x"}); err != nil {
		t.Errorf("to one that is being added: %v", err)
	}
	a.stop(w)

	starting := raftrules.New(a.cfg.rules(), nil, new(atomic.Pointer[raft.Raft]))
	if err := starting.OpenTo(peering.Hello{ID: "a"}); !errors.Is(err, peering.ErrNotNow) {
		t.Errorf("before raft runs: %v", err)
	}
}

func TestAnAgentWithoutAConfigurationIsOpenToWhoeverTakesItIn(t *testing.T) {
	a := newAgent(t, "a")
	w := a.start()
	if err := w.life.rules.OpenTo(peering.Hello{ID: "x"}); err != nil {
		t.Error(err)
	}
	a.stop(w)
}

func TestOtherWordsForUnfitnessAreNotAnnounced(t *testing.T) {
	a := newAgent(t, "a", "a")
	var asked, told atomic.Int64
	a.cfg.checkPeriod = 10 * time.Millisecond
	a.cfg.Reluctant = func() error { return fmt.Errorf("%d MiB are free", asked.Add(1)) }
	a.cfg.FitnessChanged = func() { told.Add(1) }
	w := a.start()
	a.leads()
	for i := range 20 {
		a.put(w, fmt.Sprint("k", i))
	}
	before := asked.Load()
	a.until("it looks again", func() bool { return asked.Load() > before+20 })
	a.stop(w)
	if n := told.Load(); n < 1 || n > 3 {
		t.Errorf("others were told %d times", n)
	}
}

func TestWhoIsLeavingStandsForNoElection(t *testing.T) {
	a := newAgent(t, "a", "a")
	var leaving atomic.Bool
	reason := errors.New(strings.Repeat("it stops ", 100))
	a.cfg.Leaving = func() error {
		if leaving.Load() {
			return reason
		}
		return nil
	}
	w := a.start()
	a.leads()
	leaving.Store(true)
	r := w.life.rules
	for _, request := range []any{&raft.RequestVoteRequest{}, &raft.RequestPreVoteRequest{}} {
		if err := r.MaySend(request); !errors.Is(err, reason) {
			t.Errorf("%T may be sent: %v", request, err)
		}
	}
	if err := r.MaySend(&raft.AppendEntriesRequest{}); err != nil {
		t.Errorf("an append: %v", err)
	}
	if _, err, answered := r.Answer(&raft.TimeoutNowRequest{}); !answered || !errors.Is(err, reason) {
		t.Errorf("it takes leadership over: %v, %v", err, answered)
	}
	if said := r.Log().Unfit; !strings.HasPrefix(said, "it stops") || len(said) > 303 {
		t.Errorf("others hear %q", said)
	}
	a.stop(w)
}

// noted is a transport that has noted an answer.
type noted struct {
	Transport
	sent time.Time
	term uint64
}

func (n noted) LastAck(raft.ServerID) (time.Time, uint64) { return n.sent, n.term }
func (n noted) MatchIndex(raft.ServerID, uint64) uint64   { return 7 }

func TestAnHeirHasAnsweredLatelyInThisTerm(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	term, now := w.life.raft.CurrentTerm(), a.cfg.Clock.Now()
	for name, c := range map[string]struct {
		sent   time.Time
		term   uint64
		lately bool
	}{
		"now": {now.Add(time.Hour), term, true}, "never": {}, "in an earlier term": {now.Add(time.Hour), term - 1, false},
		"long ago": {now.Add(-2 * a.cfg.HeartbeatTimeout), term, false},
	} {
		l := &life{cfg: w.life.cfg, raft: w.life.raft, config: w.life.config, transport: noted{sent: c.sent, term: c.term}}
		if match, lately := l.answered("b"); lately != c.lately || match != 7 {
			t.Errorf("%s: %v, up to %d", name, lately, match)
		}
	}
	a.stop(w)
}

// A leader that had better not lead, and could not hand over, tries it again.
func TestAReluctantLeaderTriesAgain(t *testing.T) {
	a := newAgent(t, "a", "a")
	a.cfg.Reluctant = func() error { return errors.New("its disk is nearly full") }
	w := a.start()
	a.leads()
	g := newGuard(w.life)
	start := time.Now()
	g.resigning, g.resigned = failed{errNoHeir}, start
	for after, waits := range map[time.Duration]bool{resignPause: true, resignPause + 1: false} {
		if err := g.checkFitness(start.Add(after)); err != nil || (g.resigning != nil) != waits {
			t.Errorf("after %s: %v, it waits: %v", after, err, g.resigning != nil)
		}
		g.resigning = failed{errNoHeir}
	}
	a.stop(w)
}

func TestAFailedDiskGivesNothingToTheState(t *testing.T) {
	a := newAgent(t, "a", "a")
	broken := &failingDisk{VFS: fs.New()}
	a.cfg.files = broken
	w := a.start()
	a.leads()
	broken.breaks(func() error { return syscall.EIO })
	w.life.raft.Apply(a.entry("k"), 0)
	_ = w.Wait()
	told := &configurations{}
	c := raftrules.NewReplica(told, w.life.dir, func() {})
	failure := w.life.dir.Failure()
	if err, is := c.Apply(&raft.Log{}).(error); !is || !errors.Is(err, failure) {
		t.Errorf("an entry: %v", err)
	}
	if _, err := c.Snapshot(); !errors.Is(err, failure) {
		t.Errorf("a snapshot of it: %v", err)
	}
	if err := c.Restore(nil); !errors.Is(err, failure) {
		t.Errorf("a snapshot to restore: %v", err)
	}
	c.StoreConfiguration(1, raft.Configuration{})
	if told.calls > 0 {
		t.Errorf("the state was told %d times", told.calls)
	}
}

// configurations is a state that counts the configurations that it gets.
type configurations struct {
	raft.ConfigurationStore
	calls int
}

func (c *configurations) Apply(*raft.Log) any                           { c.calls++; return nil }
func (c *configurations) Snapshot() (raft.FSMSnapshot, error)           { c.calls++; return nil, nil }
func (c *configurations) Restore(io.ReadCloser) error                   { c.calls++; return nil }
func (c *configurations) StoreConfiguration(uint64, raft.Configuration) { c.calls++ }
