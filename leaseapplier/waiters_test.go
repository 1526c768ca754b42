package leaseapplier

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// standing runs a test on a rig where ann holds db for a minute.
func standing(t *testing.T, f func(t *testing.T, r *rig, ann *call)) {
	bubble(t, func(t *testing.T, r *rig) {
		ann := r.do(r.claim(db, "ann", time.Minute))
		ann.token()
		f(t, r, ann)
	})
}

func TestWaiterIsGrantedInTheEntryThatFreesTheName(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		if !bob.isOpen() || r.applier.Waiting(db) != 1 {
			t.Fatal("bob does not wait")
		}
		n := len(r.raft.written())
		r.do(r.revoke(db, ann.token())).want("")
		if bob.token() <= ann.token() {
			t.Fatalf("token %v after %v", bob.token(), ann.token())
		}
		if m := len(r.raft.written()) - n; m != 1 {
			t.Fatalf("%d entries, want 1", m)
		}
		if r.applier.Waiting(db) != 0 {
			t.Fatal("bob still waits")
		}
	})
}

func TestWaiterIsGrantedInTheTickThatEndsTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Second)).want("")
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		r.pass(1010 * time.Millisecond)
		bob.want("")
		if e := r.raft.written()[n:]; len(e) != 1 || len(e[0].Operations) != 1 {
			t.Fatalf("%d entries, want one with one claim", len(e))
		}
	})
}

func TestFirstComeIsFirstServed(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob, cat := r.waiting("bob", "b.1", 0, time.Hour, 0), r.waiting("cat", "c.1", 0, time.Hour, 0)
		r.put(bob, cat)
		r.do(r.revoke(db, ann.token())).want("")
		bob.want("")
		if !cat.isOpen() {
			t.Fatal("cat was answered")
		}
		r.do(r.revoke(db, bob.token())).want("")
		cat.want("")
	})
}

func TestClaimThatDoesNotWaitIsHeldWhileSomebodyWaits(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		dan := r.claim(db, "dan", time.Second)
		r.put(r.revoke(db, ann.token()), dan) // in one batch: the name is free when dan's turn comes
		dan.want(interrex.ErrHeld)
		r.pass(10 * time.Millisecond)
		bob.want("")
		if m := len(r.raft.written()) - n; m != 1 {
			t.Fatalf("%d entries", m)
		}
	})
}

func TestHeldSaysWhoAndHowLongAndHowManyWait(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.pass(10 * time.Second)
		dan := r.put(r.claim(db, "dan", time.Second))
		var e *interrex.Error
		if !errors.As(dan.result().Err, &e) || e.Holder != "ann" || e.Waiting != 1 ||
			e.Remaining > 50*time.Second || e.Remaining < 49*time.Second || e.HeldSince.IsZero() {
			t.Fatalf("%+v", e)
		}
	})
}

// Also where the log says it, of a claim that came before they did.
func TestHeldByTheLogSaysHowManyWait(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.claim(db, "ann", time.Minute))
		cat, bob := r.claim(db, "cat", time.Minute), r.waiting("bob", "b.1", 0, time.Hour, 0)
		r.put(cat, bob)
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(10 * time.Millisecond)
		var e *interrex.Error
		if !errors.As(cat.result().Err, &e) || e.Kind != interrex.ErrHeld || e.Waiting != 1 {
			t.Errorf("%+v", e)
		}
		if !bob.isOpen() {
			t.Error("bob does not wait")
		}
	})
}

func TestTakeoverByTheHolderPassesTheQueue(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		again := func(holder string) *call {
			return newCall(t, &lease.Claim{Key: db, Holder: holder, TTL: time.Minute, Takeover: true})
		}
		r.do(again("bob")).want(interrex.ErrHeld)
		own := r.do(again("ann"))
		if own.token() <= ann.token() || !bob.isOpen() {
			t.Fatal("the holder could not take over")
		}
		waits := again("ann")
		waits.RequestID, waits.Wait = "a.2", &queue.Wait{Until: time.Now().Add(time.Minute)}
		if r.do(waits); waits.token() <= own.token() {
			t.Fatal("the holder could not take over with a wait")
		}
	})
}

func TestHigherAttemptTakesThePlaceOfTheOlder(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		first := r.put(r.waiting("bob", "b.1", 0, time.Hour, 10*time.Second))
		r.put(r.waiting("cat", "c.1", 0, time.Hour, 0))
		third := r.put(r.waiting("bob", "b.1", 2, time.Hour, 10*time.Second))
		first.want(interrex.ErrHeld)
		second := r.put(r.waiting("bob", "b.1", 1, time.Hour, 10*time.Second))
		second.want(interrex.ErrHeld)
		if !third.isOpen() || r.applier.Waiting(db) != 2 {
			t.Fatal("the newest attempt does not wait in the place of the first")
		}
		r.do(r.revoke(db, ann.token())).want("")
		third.want("") // bob keeps his place before cat
		if got := third.result().Attempt; got != 2 {
			t.Fatalf("the answer names attempt %d, want 2", got)
		}
	})
}

func TestAnswerNamesTheAttemptThatStood(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		first := r.put(r.waiting("bob", "b.1", 0, time.Hour, 10*time.Second))
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.revoke(db, ann.token())) // with bob's claim of attempt 0 behind it
		second := r.waiting("bob", "b.1", 1, time.Hour, 10*time.Second)
		r.put(append([]*call{second}, r.many(2*limits.MaxOperations)...)...) // so many that a second entry is built
		first.want(interrex.ErrOutcomeUnknown)                               // its claim is in the log
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(time.Second)
		second.want("")
		if got := second.result().Attempt; got != 0 {
			t.Fatalf("the answer names attempt %d, want 0, whose claim was granted", got)
		}
	})
}

func TestWhoCouldNotBeHeardHasNotMissed(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 100*time.Millisecond))
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.claim(interrex.Key{Namespace: "a", Name: "b"}, "eve", time.Minute))
		again := r.put(r.waiting("bob", "b.1", 1, time.Hour, time.Second))
		r.pass(2 * time.Second)
		if !bob.isOpen() {
			t.Fatal("answered")
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(50 * time.Millisecond)
		bob.want(interrex.ErrHeld)
		r.do(r.revoke(db, ann.token()))
		again.want("")
	})
}

func TestEqualAttemptSharesTheAnswer(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		one, two := r.waiting("bob", "b.1", 3, time.Hour, 0), r.waiting("bob", "b.1", 3, time.Hour, 0)
		r.put(one, two)
		if !one.isOpen() || !two.isOpen() || r.applier.Waiting(db) != 1 {
			t.Fatal("they do not share a place")
		}
		close(one.stop)
		r.do(r.revoke(db, ann.token())).want("")
		one.want(interrex.ErrTimeout)
		two.want("")
	})
}

func TestSameRequestForAnotherClaimIsInvalid(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		other := r.waiting("bob", "b.1", 1, time.Hour, 0)
		other.Command = &lease.Claim{Key: db, Holder: "bob", TTL: time.Hour}
		other.Data = other.Command.Append(nil)
		r.put(other).want(interrex.ErrInvalid)
	})
}

// Ids without a name are told apart by their holder.
func TestTwoHoldersMayWaitUnderOneID(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob, cat := r.waiting("bob", "job", 0, time.Hour, 0), r.waiting("cat", "job", 0, time.Hour, 0)
		r.put(bob, cat)
		if !bob.isOpen() || !cat.isOpen() || r.applier.Waiting(db) != 2 {
			t.Fatal("they do not both wait")
		}
		r.do(r.revoke(db, ann.token())).want("")
		bob.want("")
		r.do(r.revoke(db, bob.token())).want("")
		cat.want("")
	})
}

func TestWhoMissesThreeAskingsLeavesAsUnavailable(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, time.Second))
		r.pass(2 * time.Second)
		bob2 := r.put(r.waiting("bob", "b.1", 1, time.Hour, time.Second))
		bob.want(interrex.ErrHeld)
		r.pass(2900 * time.Millisecond)
		if !bob2.isOpen() {
			t.Fatal("left early")
		}
		r.pass(200 * time.Millisecond)
		bob2.want(interrex.ErrUnavailable)
		if r.applier.Waiting(db) != 0 {
			t.Fatal("still in line")
		}
	})
}

func TestWaitThatRunsOutIsHeld(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, 5*time.Second, 0))
		r.pass(4990 * time.Millisecond)
		if !bob.isOpen() {
			t.Fatal("answered early")
		}
		r.pass(50 * time.Millisecond)
		bob.want(interrex.ErrHeld)
		var e *interrex.Error
		if !errors.As(bob.result().Err, &e) || e.Holder != "ann" || e.Remaining == 0 {
			t.Fatalf("%+v", e)
		}
	})
}

func TestWaitDoesNotRunOutWhileItsClaimIsInTheLog(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Second, 100*time.Millisecond))
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.revoke(db, ann.token()))
		r.pass(5 * time.Second)
		if !bob.isOpen() {
			t.Fatalf("answered %v while the claim may be granted", bob.result())
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(10 * time.Millisecond)
		bob.want("")
	})
}

func TestClaimIsNotRefusedFromMemoryWhileAnAttemptIsInTheLog(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		dan := r.claim(db, "dan", time.Minute)
		dan.RequestID = "d.1"
		r.put(r.revoke(db, ann.token()), dan)
		bob := r.waiting("bob", "b.1", 0, time.Hour, 0)
		again := r.claim(db, "dan", time.Minute)
		again.RequestID, again.Attempt = "d.1", 1
		other := r.claim(db, "eve", time.Minute)
		other.RequestID = "e.1"
		r.put(append([]*call{bob, again, other}, r.many(2*limits.MaxOperations)...)...) // so many that a second entry is built
		other.want(interrex.ErrHeld)
		if !again.isOpen() {
			t.Fatalf("refused: %v", again.result().Err)
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(100 * time.Millisecond)
		dan.want("")
		if again.token() != dan.token() || !again.result().Replayed {
			t.Fatal("the second attempt has another answer")
		}
		if !bob.isOpen() {
			t.Fatal("bob was answered")
		}
	})
}

func TestRecordIsLookedUpAtEveryAsking(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		r.do(r.revoke(db, ann.token())).want("")
		bob := r.do(r.waiting("bob", "b.1", 0, time.Hour, time.Second))
		n := len(r.raft.written())
		again := r.put(r.waiting("bob", "b.1", 1, time.Hour, time.Second))
		if again.token() != bob.token() || !again.result().Replayed || again.result().Attempt != 0 {
			t.Fatalf("%+v", again.result())
		}
		if len(r.raft.written()) != n {
			t.Fatal("a replay went to the log")
		}
	})
}

func TestFreeNameIsClaimedForAWaiterAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.waiting("bob", "b.1", 0, time.Hour, 0)).want("")
	})
}

func TestNameThatIsFreedBehindTheLeadersBackIsClaimed(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.revoke(db, ann.token())) // there is no waiter yet: no claim behind it
		bob := r.waiting("bob", "b.1", 0, time.Hour, 0)
		r.put(append([]*call{bob}, r.many(2*limits.MaxOperations)...)...) // so many that a second entry is built
		if r.applier.Waiting(db) != 1 {
			t.Fatal("bob does not wait")
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(50 * time.Millisecond)
		bob.want("")
	})
}

func TestWrongGuessKeepsThePlace(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob, cat := r.waiting("bob", "b.1", 0, time.Hour, 0), r.waiting("cat", "c.1", 0, time.Hour, 0)
		r.put(bob, cat)
		transfer := newCall(t, &lease.Transfer{Key: db, Token: ann.token(), To: "dan"})
		revoke := r.revoke(db, ann.token()) // at present this frees the name, but the transfer comes first
		n := len(r.raft.written())
		r.do2(transfer, revoke)
		revoke.want(interrex.ErrNotHeld)
		if e := r.raft.written()[n]; len(e.Operations) != 3 || e.Operations[2].RequestID != "b.1" {
			t.Fatalf("%d operations, want bob's claim as the third", len(e.Operations))
		}
		if !bob.isOpen() {
			t.Fatalf("answered %v", bob.result())
		}
		r.do(r.revoke(db, transfer.token())).want("")
		bob.want("")
		if !cat.isOpen() {
			t.Fatal("cat was before bob")
		}
	})
}

func TestWaiterWhoseClaimMayHaveHappenedIsToldSo(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.raft.set(func(m *memRaft) { m.fate = func() error { m.fate = nil; return errors.New("boom") } })
		r.do(r.revoke(db, ann.token())).want(interrex.ErrOutcomeUnknown)
		bob.want(interrex.ErrOutcomeUnknown)
	})
}

func TestWaiterWhoseClaimRaftDoesNotAnswerLeavesTheLine(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.revoke(db, ann.token()))
		r.pass(answerTimeout + time.Second)
		bob.want(interrex.ErrOutcomeUnknown)
		if n := r.applier.Waiting(db); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

// raft's late answer to an earlier term's claim does not answer a caller that has
// retried since.
func TestALateAnswerDoesNotReachWhoAsksAgain(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.revoke(db, ann.token()))
		var late []*memFuture
		r.raft.set(func(m *memRaft) { late, m.log, m.holds, m.role = m.log, nil, false, raft.Follower })
		r.applier.LeadershipChanged()
		synctest.Wait()
		bob.want(interrex.ErrOutcomeUnknown)
		r.raft.lead()
		r.applier.LeadershipChanged()
		r.pass(10 * time.Millisecond)
		bob = r.put(r.waiting("bob", "b.1", 1, time.Hour, 0))
		for _, f := range late {
			f.err = raft.ErrLeadershipLost
			close(f.done)
		}
		r.pass(10 * time.Millisecond)
		if !bob.isOpen() {
			t.Errorf("answered with %v", bob.result().Err)
		}
	})
}

func TestOneClaimOfAWaiterIsInTheLog(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		r.raft.set(func(m *memRaft) { m.holds = true })
		force := func() *call { return newCall(t, &lease.Revoke{Key: db, Force: true}) }
		r.put(force(), force(), force())
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(time.Second)
		claims := 0
		for _, e := range r.raft.written()[n:] {
			for _, op := range e.Operations {
				if op.RequestID == "b.1" {
					claims++
				}
			}
		}
		if claims != 1 {
			t.Fatalf("%d claims for one waiter", claims)
		}
		bob.want("")
	})
}

func TestOtherRefusalAnswersTheWaiterAndTheNextHasItsTurn(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.waiting("bob", "b.1", 0, time.Hour, 0)
		bob.Fence = interrex.Fence{Key: interrex.Key{Namespace: "a", Name: "b"}, Token: 9}
		cat := r.waiting("cat", "c.1", 0, time.Hour, 0)
		r.put(bob, cat)
		r.do(r.revoke(db, ann.token())).want("")
		bob.want(interrex.ErrNotHeld)
		cat.want("")
	})
}

func TestCallThatEndsLeavesTheQueueAtOnce(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob, cat := r.waiting("bob", "", 0, time.Hour, 0), r.waiting("cat", "", 0, time.Hour, 0)
		r.put(bob, cat)
		close(bob.stop)
		r.do(r.revoke(db, ann.token())).want("") // at once: nothing has looked since
		bob.want(interrex.ErrTimeout)
		if !queue.IsCanceled(bob.result().Err) {
			t.Fatal(bob.result().Err)
		}
		cat.want("")
		dan := r.put(r.waiting("dan", "", 0, time.Hour, 0))
		close(dan.stop)
		r.pass(2 * sweepInterval)
		if r.applier.Waiting(db) != 0 {
			t.Fatal("dan is counted still")
		}
	})
}

func TestWaitersLeaveWithLeadership(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob, cat := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0)), r.put(r.waiting("cat", "c.1", 0, time.Hour, 0))
		r.raft.set(func(m *memRaft) { m.holds = true })
		revoke := r.put(r.revoke(db, ann.token())) // bob's claim is in the log with it
		r.raft.lose("you", 0)
		r.applier.LeadershipChanged()
		synctest.Wait()
		revoke.want(interrex.ErrOutcomeUnknown)
		bob.want(interrex.ErrOutcomeUnknown)
		cat.want(interrex.ErrNotLeader)
		if r.applier.Waiting(db) != 0 {
			t.Fatal("somebody is counted still")
		}
	})
}

func TestWaiterStaysWhenItsClaimDidNotEnterTheLog(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.raft.set(func(m *memRaft) { m.refusal = raft.ErrEnqueueTimeout })
		r.put(r.revoke(db, ann.token())).want(interrex.ErrTimeout)
		r.raft.set(func(m *memRaft) { m.refusal = nil })
		r.pass(time.Second)
		if !bob.isOpen() {
			t.Fatalf("answered %v", bob.result())
		}
		r.do(r.revoke(db, ann.token())).want("")
		bob.want("")
	})
}

func TestLineOfANameIsLimited(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		for i := range 256 {
			if c := r.put(r.waiting("w", fmt.Sprint("w.", i), 0, time.Hour, 0)); !c.isOpen() {
				t.Fatal("refused early")
			}
		}
		r.put(r.waiting("w", "w.999", 0, time.Hour, 0)).want(interrex.ErrOverloaded)
		again := r.put(r.waiting("w", "w.7", 1, time.Hour, 0))
		if !again.isOpen() {
			t.Fatal("one that stands in line may ask again")
		}
	})
}

func TestWaitersInAllAreLimited(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		s := newProposer(&r.config).waiters
		for i := range 65_536 {
			k := interrex.Key{Namespace: "default", Name: fmt.Sprint(i)}
			op := &queue.Operation{Command: &lease.Claim{Key: k}, Wait: &queue.Wait{}, Done: func(state.Result) { t.Fatal("answered") }}
			s.add(op, time.Time{})
		}
		var got error
		op := &queue.Operation{Command: &lease.Claim{Key: db}, Wait: &queue.Wait{}, Done: func(r state.Result) { got = r.Err }}
		if s.add(op, time.Time{}); !errors.Is(got, interrex.ErrOverloaded) {
			t.Fatal(got)
		}
	})
}

func TestRetryInTheSameBatchIsNotRefusedFromMemory(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.many(1)...) // so that what follows is one batch
		dan, again := r.claim(db, "dan", time.Minute), r.claim(db, "dan", time.Minute)
		dan.RequestID, again.RequestID, again.Attempt = "d.1", "d.1", 1
		r.put(r.revoke(db, ann.token()), dan, r.waiting("bob", "b.1", 0, time.Hour, 0), again)
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(50 * time.Millisecond)
		if dan.token() != again.token() {
			t.Fatal("the second attempt has another answer")
		}
	})
}

func TestWaiterThatMayBeGrantedIsNeverToldThatNothingHappened(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob, cat := r.waiting("bob", "b.1", 0, time.Hour, 0), r.waiting("cat", "c.1", 0, time.Hour, 0)
		r.put(bob, cat)
		r.raft.set(func(m *memRaft) { m.holds = true })
		revoke := newCall(t, &lease.Revoke{Key: db, Force: true})
		r.put(r.revoke(db, ann.token()), revoke) // one claim behind each
		close(bob.stop)
		r.pass(2 * sweepInterval)
		bob.want(interrex.ErrOutcomeUnknown)
		if queue.IsCanceled(bob.result().Err) {
			t.Error("bob is told that it has left the queue")
		}
		r.raft.lose("you", 0)
		r.applier.LeadershipChanged()
		synctest.Wait()
		cat.want(interrex.ErrOutcomeUnknown)
		if IsNotLeaderError(cat.result().Err) {
			t.Error("cat is told to ask another leader")
		}
	})
}

func TestWhoCouldNotBeHeardWhileRaftRefusesHasNotMissed(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 100*time.Millisecond))
		r.raft.set(func(m *memRaft) { m.refusal = raft.ErrLeadershipTransferInProgress })
		r.put(r.many(1)...)
		for attempt := range uint32(5) {
			r.put(r.waiting("bob", "b.1", attempt+1, time.Hour, 100*time.Millisecond))
			r.pass(100 * time.Millisecond)
		}
		if !bob.isOpen() {
			t.Fatalf("passed over while nobody listens: %v", bob.result().Err)
		}
		r.raft.set(func(m *memRaft) { m.refusal = nil })
		r.pass(300 * time.Millisecond)
		bob.want(interrex.ErrHeld) // a later attempt has replaced it
		if r.applier.Waiting(db) != 1 {
			t.Fatal("bob does not wait")
		}
	})
}

func TestTakeoverThatAsksAgainPassesTheQueueOnceItIsTheHolder(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		ask := func(attempt uint32) *call {
			c := newCall(t, &lease.Claim{Key: db, Holder: "dan", TTL: time.Minute, Takeover: true})
			c.RequestID, c.Attempt = "d.1", attempt
			c.Wait = &queue.Wait{Until: time.Now().Add(time.Hour), Every: time.Minute}
			return c
		}
		r.put(r.waiting("bob", "b.1", 0, time.Hour, 0), ask(0))
		r.do(newCall(t, &lease.Transfer{Key: db, Token: ann.token(), To: "dan"})).want("")
		r.do(ask(1)).want("")
	})
}

func TestWaitersFillAnEntryToItsLimitAndNotBeyond(t *testing.T) {
	waitersFillAnEntry(t, func(_ *testing.T, r *rig) []*call { return r.many(limits.MaxOperations) })
}

func TestWaitersFillAnEntryOfGroupsToItsLimitAndNotBeyond(t *testing.T) {
	waitersFillAnEntry(t, func(t *testing.T, r *rig) (groups []*call) {
		for all := range slices.Chunk(r.many(limits.MaxOperations), limits.MaxGroup) {
			groups = append(groups, group(t, all...))
		}
		return groups
	})
}

// waitersFillAnEntry returns names free for which others wait, while as many
// operations as an entry holds are there.
func waitersFillAnEntry(t *testing.T, others func(*testing.T, *rig) []*call) {
	const names = claimsRoom + 44
	bubble(t, func(t *testing.T, r *rig) {
		var held, waiting []*call
		for i := range names {
			k := interrex.Key{Namespace: "short", Name: fmt.Sprint(i)}
			held = append(held, r.claim(k, "ann", time.Second))
			w := r.claim(k, "bob", time.Minute)
			w.RequestID, w.Wait = fmt.Sprint("b.", i), &queue.Wait{Until: time.Now().Add(time.Hour)}
			waiting = append(waiting, w)
		}
		r.do2(held...)
		r.put(waiting...)
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.claim(db, "ann", time.Minute))
		r.put(others(t, r)...) // no more than a batch: it waits for the entry before
		r.pass(2 * time.Second)
		n := len(r.raft.written())
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(sweepInterval / 2) // before they are looked after
		next := r.raft.written()[n:]
		if len(next) == 0 {
			t.Fatal("no other entry")
		}
		claims, full := 0, 0
		for _, op := range next[0].Operations {
			full += op.Count()
			if op.RequestID != "" {
				claims++
			}
		}
		if full != limits.MaxOperations || claims != limits.MaxOperations/4 {
			t.Errorf("an entry of %d operations, %d of them waiters'", full, claims)
		}
		for _, w := range waiting {
			w.want("")
		}
	})
}

func TestNextInLineIsNotClaimedForWhileTheFirstIsInTheLog(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Second)).want("")
		bob, cat := r.waiting("bob", "b.1", 0, time.Hour, 0), r.waiting("cat", "c.1", 0, time.Hour, 0)
		r.put(bob, cat)
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.pass(1010 * time.Millisecond) // db is due, and bob's claim in the log
		n := len(r.raft.written())
		r.put(r.many(2 * limits.MaxOperations)...) // so many that a second entry is built
		if len(r.raft.written()) == n {
			t.Fatal("no second entry")
		}
		for _, e := range r.raft.written() {
			for _, op := range e.Operations {
				if op.RequestID == "c.1" {
					t.Fatal("cat's claim is in the log")
				}
			}
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(100 * time.Millisecond)
		bob.want("")
	})
}

func TestNameIsNotLookedAtBeforeItMayBeFree(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, _ *call) {
		p := newProposer(&r.config)
		p.leadership.base, p.leadership.since = r.state.Now(), time.Now()
		p.waiters.add(r.waiting("bob", "b.1", 0, time.Hour, 0).Operation, time.Now())
		p.draft.claimFree(0)
		if p.waiters.sweep(time.Now()); len(p.waiters.rechecks) > 0 {
			t.Error("ann holds it, and it is looked at again")
		}
	})
}
