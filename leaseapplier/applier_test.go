package leaseapplier

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// bubble runs a test on a rig in virtual time.
func bubble(t *testing.T, f func(t *testing.T, r *rig), change ...func(*Config)) {
	synctest.Test(t, func(t *testing.T) { f(t, newRig(t, change...)) })
}

func TestOperationIsAnsweredWithItsResult(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.do(r.claim(db, "ann", time.Minute))
		if c.token() == 0 {
			t.Fatal("no token")
		}
		if held, found := r.leases.Get(db); !found || held.Holder != "ann" {
			t.Fatalf("%v %v", held, found)
		}
	})
}

func TestWhateverWaitsBecomesOneEntry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		first := r.claim(db, "ann", time.Minute)
		r.put(first)
		var calls []*call
		for i := range 256 {
			k := interrex.Key{Namespace: "default", Name: fmt.Sprint(i)}
			calls = append(calls, r.claim(k, "ann", time.Minute))
			go r.queue.Enqueue(t.Context(), calls[i].Operation)
		}
		synctest.Wait()
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(10 * time.Millisecond)
		for _, c := range calls {
			c.want("")
		}
		if n := len(r.raft.written()); n != 2 {
			t.Fatalf("%d entries, want 2: one in flight, and one with all that waited", n)
		}
	})
}

func TestMoreEntriesAreInFlightOnlyWhenMoreThanABatchWaits(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		for i := range 6 * limits.MaxOperations {
			k := interrex.Key{Namespace: "default", Name: fmt.Sprint(i)}
			r.queue.Enqueue(t.Context(), r.claim(k, "ann", time.Minute).Operation)
		}
		synctest.Wait()
		if n := len(r.raft.written()); n != maxInFlight {
			t.Fatalf("%d entries in flight, want %d", n, maxInFlight)
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(time.Second)
	})
}

// A01, S38.
func TestFollowerNamesTheLeader(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.lose("you", 0)
		r.applier.LeadershipChanged()
		c := r.put(r.claim(db, "ann", time.Minute))
		var e *NotLeaderError
		if err := c.result().Err; !errors.As(err, &e) || !IsNotLeaderError(err) {
			t.Fatalf("%v", err)
		}
		if e.ServerID() != "you" || e.ServerAddress() != "you:7400" || e.Error() != `not currently the leader, try "you"` {
			t.Fatalf("%v %v %v", e.ServerID(), e.ServerAddress(), e)
		}
		if m := e.AsMap(); m["server-id"] != "you" || m["server-address"] != "you:7400" || len(m) != 2 {
			t.Fatalf("%v", m)
		}
		c.want(interrex.ErrNotLeader)
		var kind *interrex.Error
		if !errors.As(e, &kind) || kind.LeaderID != "you" || kind.LeaderAddress != "you:7400" || kind.RetryAfter == 0 {
			t.Fatalf("%+v", kind)
		}
	})
}

// A01, S08, S11.
func TestNobodyIsNamedWhenNoLeaderIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.lose("", 0)
		c := r.put(r.claim(db, "ann", time.Minute))
		c.want(interrex.ErrNoLeader)
		if err := c.result().Err; err.Error() != "not currently the leader, and no leader is known here" || !errors.Is(err, interrex.ErrNoLeader) {
			t.Fatal(err)
		}
	})
	if IsNotLeaderError(nil) || IsNotLeaderError(errors.New("boom")) || !IsNotLeaderError(NewNotLeaderError("a", "b")) {
		t.Fatal("IsNotLeaderError")
	}
}

// A02.
func TestWrongResponseIsAnErrorAndNoPanic(t *testing.T) {
	for name, wrong := range map[string]any{"nothing": nil, "a number": 7, "too few": []state.Result{}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.raft.set(func(m *memRaft) { m.tamper = func(any) any { return wrong } })
				c := r.do(r.claim(db, "ann", time.Minute))
				c.want(interrex.ErrOutcomeUnknown)
				if !strings.Contains(c.result().Err.Error(), "invalid FSM response") || r.logs.count("critical") != 1 {
					t.Fatalf("%v, %d critical logs", c.result().Err, r.logs.count("critical"))
				}
				r.raft.set(func(m *memRaft) { m.tamper = nil })
				r.do(r.claim(interrex.Key{Namespace: "a", Name: "b"}, "ann", time.Minute)).want("")
			})
		})
	}
}

// Raft answers with an error what it has not given to the state.
func TestWhatRaftDidNotGiveToTheStateIsOutcomeUnknown(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.tamper = func(any) any { return errors.New("the disk has failed") } })
		c := r.do(r.claim(db, "ann", time.Minute))
		c.want(interrex.ErrOutcomeUnknown)
		if !strings.Contains(c.result().Err.Error(), "the disk has failed") || r.logs.count("critical") != 0 {
			t.Errorf("%v, %d critical logs", c.result().Err, r.logs.count("critical"))
		}
	})
}

// A03: there is no target to notify. A Done that panics is the nearest: it does not
// affect others.
func TestDoneThatPanicsHarmsNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		bad, good := r.claim(db, "ann", time.Minute), r.claim(db, "bob", time.Minute)
		bad.Done = func(state.Result) { panic("boom") }
		r.do2(bad, good)
		good.want(interrex.ErrHeld)
		if r.logs.count("error") != 1 {
			t.Fatal("nothing was logged")
		}
		r.do(r.claim(db, "cat", time.Minute)).want(interrex.ErrHeld)
	})
}

// A04.
func TestLaterOperationsRunAfterAnEarlierFailure(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		first, second, third := r.claim(db, "ann", time.Minute), r.claim(db, "bob", time.Minute), r.claim(interrex.Key{Namespace: "a", Name: "b"}, "cat", time.Minute)
		r.do2(first, second, third)
		first.want("")
		second.want(interrex.ErrHeld)
		third.want("")
	})
}

// A05.
func TestLeadershipLostInMidBatchIsOutcomeUnknown(t *testing.T) {
	for keep := range 2 {
		t.Run(fmt.Sprintf("%d survive", keep), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.raft.set(func(m *memRaft) { m.holds = true })
				a, b := r.claim(db, "ann", time.Minute), r.claim(db, "bob", time.Minute)
				r.put(a, b)
				r.raft.lose("you", keep)
				synctest.Wait()
				a.want(interrex.ErrOutcomeUnknown)
				b.want(interrex.ErrOutcomeUnknown)
				if IsNotLeaderError(a.result().Err) || !errors.Is(a.result().Err, raft.ErrLeadershipLost) {
					t.Fatal(a.result().Err)
				}
			})
		})
	}
}

// The table of raft's errors: only three mean that nothing happened.
func TestErrorsOfRaftAreToldApart(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind interrex.Kind
	}{
		{raft.ErrNotLeader, interrex.ErrNotLeader},
		{raft.ErrEnqueueTimeout, interrex.ErrTimeout},
		{raft.ErrLeadershipTransferInProgress, interrex.ErrUnavailable},
		{raft.ErrLeadershipLost, interrex.ErrOutcomeUnknown},
		{raft.ErrRaftShutdown, interrex.ErrOutcomeUnknown},
		{raft.ErrAbortedByRestore, interrex.ErrOutcomeUnknown},
		{errors.New("boom"), interrex.ErrOutcomeUnknown},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.raft.set(func(m *memRaft) { m.fate = func() error { m.fate = nil; return c.err } })
				r.do(r.claim(db, "ann", time.Minute)).want(c.kind)
				r.pass(time.Second)
				r.do(r.claim(db, "ann", time.Minute)).want("") // and it continues
			})
		})
	}
}

// A06.
func TestEntryWithoutAnswerIsOutcomeUnknownInTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.pass(300 * time.Millisecond) // not when it happens to look
		r.raft.set(func(m *memRaft) { m.holds = true })
		c := r.claim(db, "ann", time.Minute)
		late := r.claim(db, "bob", time.Minute)
		r.put(c)
		r.put(late)
		r.pass(10*time.Second - time.Millisecond)
		if !c.isOpen() {
			t.Fatal("answered early")
		}
		late.want(interrex.ErrTimeout) // it never entered the log
		r.pass(2 * time.Millisecond)
		c.want(interrex.ErrOutcomeUnknown)
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(10 * time.Millisecond)
		c.want(interrex.ErrOutcomeUnknown) // still the one answer
		if n := r.logs.count("warning"); n != 1 {
			t.Errorf("%d warnings, want one", n)
		}
		r.do(r.claim(db, "cat", time.Minute)).want(interrex.ErrHeld)
	})
}

// Raft has longer for a term's barrier and for its first entry, also after an
// entry that it has refused.
func TestRaftIsGivenItsTimeForEachEntry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const long, short = InitialApplyTimeout, ApplyTimeout
		r.do(r.claim(db, "ann", time.Hour)).want("")
		r.do(r.claim(db, "bob", time.Hour)).want(interrex.ErrHeld)
		r.raft.set(func(m *memRaft) { m.refusal = raft.ErrEnqueueTimeout })
		r.put(r.claim(db, "cat", time.Hour)).want(interrex.ErrTimeout)
		r.raft.set(func(m *memRaft) { m.refusal = nil })
		r.pass(time.Second)
		r.do(r.claim(db, "dan", time.Hour)).want(interrex.ErrHeld)
		r.raft.lose("", 0)
		r.raft.lead()
		r.applier.LeadershipChanged()
		r.pass(time.Second)
		r.do(r.claim(db, "eve", time.Hour)).want(interrex.ErrHeld)
		r.do(r.claim(db, "fay", time.Hour)).want(interrex.ErrHeld)
		want := []time.Duration{
			long, long, short, // barrier, ann, bob
			short, long, long, short, // cat; a barrier, refused and tried again; dan
			long, long, short, // of the next term: barrier, eve, fay
		}
		r.raft.mu.Lock()
		defer r.raft.mu.Unlock()
		if !slices.Equal(r.raft.bounds, want) {
			t.Errorf("raft was given\n%v, want\n%v", r.raft.bounds, want)
		}
	})
}

// An entry is full at limits.BatchBytes, also when none waits for a lease.
func TestAnEntryKeepsToItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, machine.Config{Tables: []state.Table{lease.New(), testtable.NewRegister()}})
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.claim(db, "ann", time.Hour)) // what comes behind it is taken together
		var all []*call
		for i := range 6 {
			all = append(all, r.register(testtable.Set(fmt.Sprint(i), strings.Repeat("x", limits.BatchBytes*2/5), 0)))
		}
		r.put(all...)
		n := len(r.raft.written())
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(time.Second)
		var sizes []int
		for _, e := range r.raft.written()[n:] {
			sizes = append(sizes, len(e.Operations))
		}
		if !slices.Equal(sizes, []int{2, 2, 2}) {
			t.Errorf("the entries have %v operations, want 2 each", sizes)
		}
		for _, c := range all {
			c.want("")
		}
	})
}

// Q02: also when it is stopped.
func TestStopAnswersWhatIsInTheLog(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		c, w := r.claim(db, "ann", time.Minute), r.waiting("bob", "b.1", 0, time.Minute, 0)
		r.put(c)
		start := time.Now()
		r.applier.Kill()
		if err := r.applier.Wait(); err != nil {
			t.Fatal(err)
		}
		c.want(interrex.ErrOutcomeUnknown)
		if d := time.Since(start); d != 200*time.Millisecond {
			t.Fatalf("it took %v", d)
		}
		if r.applier.ReadyTerm() != 0 {
			t.Fatal("ready after the end")
		}
		r.put(w)
		if !w.isOpen() {
			t.Fatal("what is in the queue outlives the applier")
		}
	})
}

func TestStopWaitsALittleForTheAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.latency = 50 * time.Millisecond })
		c := r.put(r.claim(db, "ann", time.Minute))
		r.applier.Kill()
		if err := r.applier.Wait(); err != nil {
			t.Fatal(err)
		}
		c.want("")
	})
}

// Q02: also when raft panics.
func TestPanicAnswersEverythingAndEndsTheApplier(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		holder := r.do(r.claim(db, "ann", time.Minute))
		w := r.put(r.waiting("bob", "b.1", 0, time.Minute, 0))
		r.raft.set(func(m *memRaft) { m.panics = true })
		c := r.put(r.revoke(db, holder.token()))
		if err := r.applier.Wait(); err == nil || !strings.Contains(err.Error(), "raft panics") {
			t.Fatal(err)
		}
		c.want(interrex.ErrOutcomeUnknown)
		w.want(interrex.ErrOutcomeUnknown) // its claim was in that entry
	})
}

// hashicorp/raft#696.
func TestTransferThatNeverEndsEndsTheApplier(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.refusal = raft.ErrLeadershipTransferInProgress })
		r.put(r.claim(db, "ann", time.Minute)).want(interrex.ErrUnavailable)
		done := make(chan error, 1)
		go func() { done <- r.applier.Wait() }()
		r.pass(30*time.Second - time.Second)
		select {
		case err := <-done:
			t.Fatalf("ended early: %v", err)
		default:
		}
		r.pass(3 * time.Second)
		if err := <-done; !errors.Is(err, errTransferStuck) {
			t.Fatal(err)
		}
	})
}

func TestTransferThatEndsIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for range 2 {
			r.raft.set(func(m *memRaft) { m.refusal = raft.ErrLeadershipTransferInProgress })
			r.put(r.claim(db, "ann", time.Minute)).want(interrex.ErrUnavailable)
			waits := r.put(r.claim(db, "bob", time.Minute))
			if !waits.isOpen() {
				t.Fatal("raft was asked again while it hands over")
			}
			r.pass(time.Second)
			r.raft.set(func(m *memRaft) { m.refusal = nil })
			r.pass(time.Second)
			if waits.isOpen() {
				t.Fatal("it did not go on")
			}
			r.pass(20 * time.Second)
		}
	})
}

// Also without any later request.
func TestTransferThatEndsIsForgottenWithoutAnotherEntry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.refusal = raft.ErrLeadershipTransferInProgress })
		r.put(r.claim(db, "ann", time.Minute)).want(interrex.ErrUnavailable)
		r.raft.set(func(m *memRaft) { m.refusal = nil })
		r.pass(2 * stuckAfter)
		r.do(r.claim(db, "ann", time.Minute)).want("")
	})
}

// An entry of an earlier term that raft never answers holds up no later one.
func TestAFlightOfAnEarlierTermHoldsUpNoLaterEntry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		lost := r.put(r.claim(db, "ann", time.Minute))
		var never []*memFuture
		r.raft.set(func(m *memRaft) { never, m.log, m.holds, m.role = m.log, nil, false, raft.Follower })
		r.applier.LeadershipChanged()
		synctest.Wait()
		r.raft.lead()
		r.applier.LeadershipChanged()
		r.pass(10 * time.Millisecond)
		lost.want(interrex.ErrOutcomeUnknown)
		r.do(r.claim(db, "bob", time.Minute)).want("")
		for _, f := range never {
			f.err = raft.ErrLeadershipLost
			close(f.done)
		}
		synctest.Wait()
		r.do(r.claim(db, "cat", time.Minute)).want(interrex.ErrHeld)
	})
}

// What the answer of a barrier says of an earlier term, or of a leader that is
// none any more, counts for nothing.
func TestABarrierCountsForItsOwnTermAlone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		l := &leadership{config: &r.config, tenure: tenure{term: 7, barrier: true}}
		l.endBarrier(barrierResult{term: 6})
		if !l.barrier || l.ready {
			t.Errorf("after that of an earlier term: %+v", l.tenure)
		}
		r.raft.set(func(m *memRaft) { m.term, m.role = 7, raft.Follower })
		l.endBarrier(barrierResult{term: 7})
		if l.ready || l.readyTerm.Load() != 0 {
			t.Errorf("after leadership has gone: %+v", l.tenure)
		}
	})
}

// An index of raft's own entries is passed with the barrier behind them.
func TestABarrierSaysHowFarTheLogIsApplied(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if err := r.state.WaitApplied(t.Context(), 1); err != nil {
			t.Error(err)
		}
	})
}

// stepping is a raft whose term goes up between two looks at it.
type stepping struct{ *memRaft }

func (s stepping) State() raft.RaftState {
	s.set(func(m *memRaft) { m.term++ })
	return s.memRaft.State()
}

func TestATermIsOfOneMomentWithItsLeadership(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		c := r.config
		c.Raft = stepping{r.raft}
		if term := (&leadership{config: &c}).observe(); term != 0 {
			t.Errorf("it leads in term %d, and that is over", term)
		}
	})
}

func TestReadyTermFollowsLeadership(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if got := r.applier.ReadyTerm(); got != 1 {
			t.Fatalf("ready in term %d, want 1", got)
		}
		r.raft.lose("you", 0)
		r.applier.LeadershipChanged()
		synctest.Wait()
		if got := r.applier.ReadyTerm(); got != 0 {
			t.Fatalf("ready in term %d, want none", got)
		}
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.raft.lead()
		r.applier.LeadershipChanged()
		r.pass(10 * time.Millisecond)
		if got := r.applier.ReadyTerm(); got != 0 {
			t.Fatal("ready before its predecessors' entries are applied")
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(10 * time.Millisecond)
		if got := r.applier.ReadyTerm(); got != 3 {
			t.Fatalf("ready in term %d, want 3", got)
		}
	})
}

func TestReportSaysWhereItStands(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if got := r.applier.Report(); got["term"] != uint64(1) || got["ready"] != true || got["in-flight"] != 0 {
			t.Fatalf("%v", got)
		}
	})
}

func TestMetricsCountWhatWasAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Minute)).want("")
		r.do(r.claim(db, "bob", time.Minute)).want(interrex.ErrHeld)
		r.metrics.CountEvents([]state.Event{{Kind: interrex.LeaseExpired}, {Kind: interrex.LeaseClaimed}})
		got := gather(t, r.metrics)
		for name, want := range map[string]float64{
			"interrex_lease_ops_total claim ok": 1, "interrex_lease_ops_total claim held": 1,
			"interrex_lease_expired_total": 1, "interrex_batch_operations": 2,
			"interrex_raft_apply_duration_seconds success": 2, "interrex_lease_waiters": 0,
		} {
			if v, found := got[name]; !found || v != want {
				t.Errorf("%s: %v, want %v, of %v", name, v, want, got)
			}
		}
	})
}

// R09.
func TestDurationsOfEntriesAreAHistogramByResult(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		claim := func(holder string, want interrex.Kind) {
			t.Helper()
			c := r.put(r.claim(db, holder, time.Minute))
			r.pass(time.Second)
			c.want(want)
		}
		r.raft.set(func(m *memRaft) { m.latency = 30 * time.Millisecond })
		claim("ann", "")
		r.raft.set(func(m *memRaft) { m.fate = func() error { return errors.New("the log is gone") } })
		claim("bob", interrex.ErrOutcomeUnknown)
		r.raft.lose("you", 0)
		r.pass(time.Second)
		claim("cat", interrex.ErrNotLeader)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(r.metrics)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		seconds := map[string]float64{}
		for _, f := range families {
			if f.GetName() != "interrex_raft_apply_duration_seconds" {
				continue
			}
			for _, m := range f.GetMetric() {
				h := m.GetHistogram()
				if h.GetSampleCount() != 1 || len(h.GetBucket()) == 0 {
					t.Errorf("%v: not one sample in a histogram", m)
				}
				seconds[m.GetLabel()[0].GetValue()] = h.GetSampleSum()
			}
		}
		if len(seconds) != 3 || seconds["success"] < 0.03 || seconds["failure"] < 0.03 || seconds["leader-error"] > 0.03 {
			t.Errorf("%v", seconds)
		}
	})
}

// S01, S02, R10.
func TestTheFirstEntryOfATermHasMoreTime(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for range 2 {
			r.do(r.claim(db, "ann", time.Minute))
			r.do(r.claim(db, "bob", time.Minute))
			r.raft.lose("you", 0)
			r.pass(time.Second)
			r.raft.lead()
			r.pass(time.Second)
		}
		first, later := 5*time.Second, 2*time.Second
		r.raft.set(func(m *memRaft) {
			if want := []time.Duration{first, later, first, later}; !slices.Equal(m.timeouts[:4], want) {
				t.Errorf("%v, want %v", m.timeouts, want)
			}
		})
	})
}

func TestSlackIsWhatWasLeftWhenALeaseWasExtended(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		ann := r.do(r.claim(db, "ann", time.Minute))
		r.pass(40 * time.Second)
		extended := r.do(newCall(t, &lease.Extend{Key: db, Token: ann.token()}))
		extended.want("")
		if left, is := extended.result().Reply.(*lease.Reply).Renewal(); !is || left < 19*time.Second || left > 20*time.Second {
			t.Errorf("extended with %v left, %v", left, is)
		}
		if n := gather(t, r.metrics)["interrex_lease_renew_slack_seconds"]; n != 1 {
			t.Errorf("%v observations of slack, want 1", n)
		}
		r.do(newCall(t, &lease.Pin{Key: db, Owner: "ops", Reason: "upgrade"})).want("")
		r.do(newCall(t, &lease.Extend{Key: db, Token: ann.token()})).want("")
		if n := gather(t, r.metrics)["interrex_lease_renew_slack_seconds"]; n != 1 {
			t.Errorf("a pinned lease has slack: %v observations, want 1", n)
		}
	})
}

func TestMetricOfWaitersFallsWithTheLastOne(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		waiters := func() float64 { return gather(t, r.metrics)["interrex_lease_waiters"] }
		bob, cat := r.waiting("bob", "b.1", 0, time.Hour, 0), r.waiting("cat", "c.1", 0, time.Hour, 0)
		r.put(bob, cat)
		r.pass(2 * time.Second)
		if n := waiters(); n != 2 {
			t.Fatalf("%v, want 2", n)
		}
		r.do(r.revoke(db, ann.token())).want("")
		r.do(r.revoke(db, bob.token())).want("")
		r.pass(2 * time.Second)
		if n := waiters(); n != 0 {
			t.Fatalf("%v after the last was granted, want 0", n)
		}
	})
}

// Members of an earlier build apply what a leader of a later one writes.
func TestAnEntryIsOfTheVersionThatEveryMemberKnows(t *testing.T) {
	asked := 0
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Hour)).want("")
		r.do(r.claim(db, "bob", time.Hour)).want(interrex.ErrHeld)
		if n := len(r.raft.written()); asked != n {
			t.Errorf("%d entries were written, and the version was asked for %d times", n, asked)
		}
	}, func(c *Config) { c.EntryVersion = func() byte { asked++; return machine.EntryVersion } })
}

func TestConfigIsChecked(t *testing.T) {
	whole := func() Config {
		return Config{Raft: &memRaft{}, Queue: fakeQueue{}, State: &machine.State{}, Clock: testClock, Logger: &logs{}}
	}
	for want, spoil := range map[string]func(*Config){
		"nil Raft not valid":   func(c *Config) { c.Raft = nil },
		"nil Queue not valid":  func(c *Config) { c.Queue = nil },
		"nil State not valid":  func(c *Config) { c.State = nil },
		"nil Clock not valid":  func(c *Config) { c.Clock = nil },
		"nil Logger not valid": func(c *Config) { c.Logger = nil },
	} {
		c := whole()
		spoil(&c)
		if _, err := NewApplier(c); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := whole().Validate(); err != nil {
		t.Error(err)
	}
}
