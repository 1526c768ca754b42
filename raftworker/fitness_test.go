package raftworker

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/raftrules"
)

// fitCluster is a cluster whose members know of each other whether they may
// lead.
func fitCluster(t *testing.T, ids ...string) map[string]*running {
	return startCluster(t, func(a *agent, tr *peering.Transport) {
		a.cfg.FitnessChanged = tr.Announce
		a.cfg.FitMember = func(id string) bool {
			return slices.ContainsFunc(tr.Peers(), func(h peering.Hello) bool { return h.ID == id && h.Log.Unfit == "" })
		}
	}, ids...)
}

// halt applies an entry that a state does not know.
func (r *running) halt() {
	r.state.Apply(&raft.Log{Index: math.MaxUint32, Type: raft.LogCommand, Data: []byte{99}})
}

func (r *running) name() string { return string(r.cfg.LocalID) }

func TestAHaltedLeaderHandsOverToOneThatMayLead(t *testing.T) {
	t.Parallel() // it waits for elections
	all := fitCluster(t, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	halted := []*running{first}
	for _, r := range all { // and one follower, which raft might choose
		if r != first {
			r.until("the entry", func() bool { i, _ := r.state.Applied(); return i > 0 })
			halted = append(halted, r)
			break
		}
	}
	halted[1].halt()
	first.until("the news", func() bool { return !first.cfg.FitMember(halted[1].name()) })
	halted[0].halt()
	left := map[string]*running{}
	for id, r := range all {
		if !slices.Contains(halted, r) {
			left[id] = r
		}
	}
	next := leader(t, left)
	next.put(next.w, "two")
	if err := first.w.endError(); err != nil {
		t.Errorf("the halted leader, which handed over, ended: %v", err)
	}
	// Without the one healthy member there is no leader: halted members are not
	// candidates.
	next.stop(next.w)
	delete(all, next.name())
	first.until("no leader", func() bool { return first.tracker.Current().LeaderID == "" })
	for _, r := range halted {
		rules := r.w.life.rules
		for _, request := range []any{&raft.RequestVoteRequest{}, &raft.RequestPreVoteRequest{}} {
			if err := rules.MaySend(request); err == nil || strings.Contains(err.Error(), "unexpected command") {
				t.Errorf("%T: %v", request, err)
			}
		}
		if _, err, answered := rules.Answer(&raft.TimeoutNowRequest{}); err == nil || !answered {
			t.Error("it takes leadership over")
		}
		if _, _, answered := rules.Answer(&raft.RequestVoteRequest{}); answered {
			t.Error("it does not vote")
		}
	}
	stopAll(all)
}

func TestAHaltedLeaderWithoutAnHeirEndsItsLife(t *testing.T) {
	t.Parallel() // it waits for elections
	all := startCluster(t, func(a *agent, _ *peering.Transport) {
		a.cfg.FitMember = func(string) bool { return false }
		a.cfg.handoverTimeout = 100 * time.Millisecond
	}, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "one")
	first.halt()
	delete(all, first.name())
	if err := first.w.Wait(); err == nil || !strings.Contains(err.Error(), "no other has taken over leadership: unavailable: state: halted") {
		t.Errorf("it ended with %v", err)
	}
	next := leader(t, all)
	next.put(next.w, "two")
	stopAll(all)
}

func TestAReluctantLeaderHandsOverWhenItCan(t *testing.T) {
	t.Parallel()      // it waits for elections
	var full sync.Map // the agents whose disk is nearly full, by ID
	all := startCluster(t, func(a *agent, tr *peering.Transport) {
		a.cfg.FitnessChanged = tr.Announce
		a.cfg.FitMember = func(id string) bool {
			return slices.ContainsFunc(tr.Peers(), func(h peering.Hello) bool { return h.ID == id && h.Log.Unfit == "" })
		}
		a.cfg.Reluctant = func() error {
			if _, is := full.Load(string(a.cfg.LocalID)); is {
				return errors.New("its disk is nearly full")
			}
			return nil
		}
	}, "a", "b", "c")
	first := string(leader(t, all).cfg.LocalID)
	rest := map[string]string{"a": "b", "b": "c", "c": "a"}
	second, third := rest[first], rest[rest[first]]
	full.Store(first, nil)
	full.Store(second, nil)
	all[third].until("lead", func() bool { return all[third].tracker.Current().Ready })
	for _, a := range all {
		for _, id := range []string{first, second} {
			a.until("has heard of "+id, func() bool { return id == string(a.cfg.LocalID) || !a.cfg.FitMember(id) })
		}
	}
	// If all members are reluctant, one of them leads.
	all[third].stop(all[third].w)
	delete(all, third)
	next := leader(t, all)
	next.put(next.w, "two")
	stopAll(all)
}

// damageEnd flips a bit of the newest copy of a text in the log.
func damageEnd(t *testing.T, dir, text string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	path := segments[len(segments)-1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(b, []byte(text))
	if at < 0 {
		t.Fatalf("%q is not in %s", text, path)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedFollowerIsInQuarantineUntilItIsHealed(t *testing.T) {
	t.Parallel() // it waits for elections
	all := fitCluster(t, "a", "b", "c")
	first := leader(t, all)
	first.put(first.w, "early")
	var late, damaged *running // late is off first and lacks what damaged has
	for _, r := range all {
		switch {
		case r == first:
		case late == nil:
			late = r
		default:
			damaged = r
		}
	}
	late.until("the entry", func() bool { return late.tracker.Current().LeaderID != "" })
	late.stop(late.w)
	for i := range 5 {
		first.put(first.w, fmt.Sprintf("entry-%d", i))
	}
	last, _ := first.state.Applied()
	damaged.until("all entries", func() bool { i, _ := damaged.state.Applied(); return i >= last })
	damaged.stop(damaged.w)
	first.stop(first.w)
	damageEnd(t, damaged.cfg.StorageDir, "entry-3")

	late.cfg.HeartbeatTimeout, late.cfg.ElectionTimeout, late.cfg.LeaderLeaseTimeout = 0, 0, 0 // it is a candidate often
	for _, r := range []*running{damaged, late} {
		r.startAnew()
	}
	if why := damaged.w.Quarantine(); why == nil || !strings.Contains(why.Error(), "serves no reads") {
		t.Fatalf("no quarantine: %v; %v", why, damaged.log.all())
	}
	if !slices.ContainsFunc(damaged.log.all(), func(line string) bool { return strings.HasPrefix(line, "ERROR") && strings.Contains(line, "damaged") }) {
		t.Errorf("the damage is not in the log: %v", damaged.log.all())
	}
	rules := damaged.w.life.rules
	end, term := late.w.life.dir.End(), damaged.w.life.dir.Term()
	response, _, answered := rules.Answer(&raft.RequestVoteRequest{Term: term + 1, LastLogTerm: end.Term, LastLogIndex: end.Index})
	if vote, is := response.(*raft.RequestVoteResponse); !answered || !is || vote.Granted || vote.Term != term {
		t.Errorf("a vote for who lacks what it has stored: %+v", response)
	}
	response, _, answered = rules.Answer(&raft.RequestPreVoteRequest{Term: term + 1, LastLogTerm: end.Term, LastLogIndex: end.Index})
	if vote, is := response.(*raft.RequestPreVoteResponse); !answered || !is || vote.Granted || vote.Term != term {
		t.Errorf("a pre-vote for who lacks what it has stored: %+v", response)
	}
	floor := damaged.w.life.dir.Floor()
	if _, _, answered := rules.Answer(&raft.RequestVoteRequest{Term: term + 1, LastLogTerm: floor.Term, LastLogIndex: floor.Index}); answered {
		t.Error("no vote for who has all that it has stored")
	}
	// The two are a quorum, and elect no leader: acknowledged entries would be lost.
	lost := func() (n int) {
		for _, line := range late.log.all() {
			if strings.Contains(line, "pre-vote campaign failed") {
				n++
			}
		}
		return n
	}
	before := lost()
	late.until("three lost elections", func() bool { return lost() >= before+3 })
	for _, r := range []*running{damaged, late} {
		if is := r.tracker.Current(); is.Leader || is.LeaderID != "" {
			t.Fatalf("somebody leads: %+v", is)
		}
	}
	first.w = first.start()
	if now := leader(t, all); now != first {
		t.Errorf("%s leads", now.name())
	}
	first.put(first.w, "later")
	damaged.until("healed", func() bool { return damaged.w.Quarantine() == nil })
	last, _ = first.state.Applied()
	damaged.until("all entries", func() bool { i, _ := damaged.state.Applied(); return i >= last })
	damaged.until("a word that it is whole", func() bool {
		return slices.ContainsFunc(damaged.log.all(), func(line string) bool {
			return strings.Contains(line, "the log of this agent is whole again: it ends at ")
		})
	})
	stopAll(all)
}

func TestADamagedAgentAloneDoesNotStart(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	for i := range 5 {
		a.put(w, fmt.Sprintf("entry-%d", i))
	}
	a.stop(w)
	damageEnd(t, a.cfg.StorageDir, "entry-3")
	a.cfg.State = newState(t, a.log)
	for range 2 {
		if _, err := NewWorker(a.cfg); err == nil || !strings.Contains(err.Error(), "only voter, and no other agent has the entries that it lacks: its log ends at index") {
			t.Fatalf("it starts: %v", err)
		}
	}
}

func TestAnEntryDamagedUnderARunningAgentNeverReachesTheState(t *testing.T) {
	a := newAgent(t, "a", "a")
	w := a.start()
	a.leads()
	for i := range 2 * cachedEntries {
		a.put(w, fmt.Sprintf("entry-%d.", i))
	}
	logs, err := w.LogStore()
	if err != nil {
		t.Fatal(err)
	}
	before, _ := a.state.Applied()
	damageEnd(t, a.cfg.StorageDir, "entry-3.")
	dir := w.life.dir
	var entry raft.Log
	go func() { // raft would read it for a follower, on any of its goroutines
		for i := uint64(1); i <= before && logs.GetLog(i, &entry) == nil && dir.Failure() == nil; i++ {
		}
	}()
	if err := w.Wait(); !errors.Is(err, disk.ErrDamaged) {
		t.Fatalf("it ended with %v", err)
	}
	if answer := raftrules.NewReplica(a.state, dir, func() {}).Apply(&raft.Log{Index: before + 1, Type: raft.LogCommand, Data: a.entry("x")}); answer == nil {
		t.Error("an entry reaches the state")
	} else if err, is := answer.(error); !is || !errors.Is(err, disk.ErrDamaged) {
		t.Errorf("the answer is %v", answer)
	}
	r := w.life.rules
	if err := r.MaySend(&raft.AppendEntriesRequest{}); !errors.Is(err, disk.ErrDamaged) {
		t.Errorf("an append may leave: %v", err)
	}
	if _, err, answered := r.Answer(&raft.AppendEntriesRequest{}); !answered || !errors.Is(err, disk.ErrDamaged) {
		t.Errorf("an append is answered: %v", err)
	}
	if after, _ := a.state.Applied(); after != before {
		t.Errorf("the state went from %d to %d", before, after)
	}
	if _, err := NewWorker(a.cfg); err == nil || !strings.Contains(err.Error(), "only voter") {
		t.Errorf("it starts again: %v", err)
	}
}
