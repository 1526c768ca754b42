package leaseapplier

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// Time 1: the stamp is read after the last operation has been taken.
func TestStampIsReadAfterTheLastOperationWasTaken(t *testing.T) {
	slow := &slowQueue{}
	bubble(t, func(t *testing.T, r *rig) {
		slow.delay = 700 * time.Millisecond // Take lasts so long
		before := time.Now()
		r.put(r.claim(db, "ann", time.Minute))
		r.pass(time.Second)
		entries := r.raft.written()
		got := entries[0].Stamp
		// Cluster time began 5 ms (and a barrier) before the test did.
		if got < state.Time(700*time.Millisecond) {
			t.Fatalf("stamp %v, taken for 700 ms from %v on", time.Duration(got), before)
		}
		if wall := entries[0].Wall; wall.Before(before.Add(700*time.Millisecond)) || wall.Location() != time.UTC {
			t.Fatalf("wall %v", wall)
		}
	}, func(c *Config) { slow.Queue = c.Queue; c.Queue = slow })
}

// slowQueue is a queue whose Take takes its time when something is in it.
type slowQueue struct {
	Queue
	delay time.Duration
}

func (q *slowQueue) Take(ops, bytes int) []*queue.Operation {
	out := q.Queue.Take(ops, bytes)
	if len(out) > 0 {
		time.Sleep(q.delay)
	}
	return out
}

// Time 2: without a leader, time does not advance.
func TestTimeStandsStillWithoutALeader(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", 10*time.Second)).want("")
		at := r.state.Now()
		r.raft.lose("", 0)
		r.pass(time.Hour)
		r.raft.lead()
		r.applier.LeadershipChanged()
		r.pass(10 * time.Millisecond)
		r.do(r.claim(db, "bob", 10*time.Second)).want(interrex.ErrHeld)
		if d := r.state.Now().Sub(at); d > 100*time.Millisecond {
			t.Fatalf("cluster time moved by %v", d)
		}
		r.pass(10 * time.Second)
		r.do(r.claim(db, "bob", 10*time.Second)).want("")
	})
}

// Time 2: a leader stamps nothing before it has applied its predecessors'
// entries; operations wait for that.
func TestNothingIsStampedBeforeTheBarrier(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.lose("", 0)
		r.applier.LeadershipChanged()
		synctest.Wait()
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.raft.lead()
		r.applier.LeadershipChanged()
		c := r.put(r.claim(db, "ann", time.Minute))
		r.pass(time.Second)
		if n := len(r.raft.written()); n != 0 || !c.isOpen() {
			t.Fatalf("%d entries before the barrier", n)
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(10 * time.Millisecond)
		c.want("")
		if r.raft.barriers != 2 {
			t.Fatalf("%d barriers in 2 terms", r.raft.barriers)
		}
	})
}

func TestBarrierIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.lose("", 0)
		r.applier.LeadershipChanged()
		synctest.Wait()
		r.raft.set(func(m *memRaft) { m.refusal = raft.ErrEnqueueTimeout })
		r.raft.lead()
		r.applier.LeadershipChanged()
		r.pass(time.Second)
		if n := r.raft.barriers; n < 3 || n > 8 {
			t.Fatalf("%d barriers in a second", n)
		}
		r.raft.set(func(m *memRaft) { m.refusal = nil })
		r.pass(time.Second)
		if r.applier.ReadyTerm() == 0 {
			t.Fatal("not ready")
		}
	})
}

// Time 3: a tick as soon as a lease is due.
func TestLeaseEndsAsSoonAsItIsDue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", 10*time.Second)).want("")
		start := time.Now()
		due, _ := r.state.Due()
		r.pass(due.Sub(r.state.Now()) - 30*time.Millisecond)
		if _, found := r.leases.Get(db); !found {
			t.Fatal("ended early")
		}
		for range 60 {
			r.pass(time.Millisecond)
		}
		if _, found := r.leases.Get(db); found {
			t.Fatalf("still there %v after", time.Since(start))
		}
	})
}

// Time 3: while a lease can expire, the newest stamp is no older than a tenth of
// the time to that; at least 1 s, at most 60 s.
func TestKeepAliveOfTime(t *testing.T) {
	for _, c := range []struct {
		ttl      time.Duration
		min, max int // entries until it is due, the claim and the end included
	}{
		{time.Second, 2, 2},
		{5 * time.Second, 5, 6}, // one a second
		{time.Hour, 95, 110},    // one a minute, then ever more
	} {
		t.Run(c.ttl.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.do(r.claim(db, "ann", c.ttl)).want("")
				r.pass(c.ttl + time.Second)
				if _, found := r.leases.Get(db); found {
					t.Fatal("not ended")
				}
				if n := len(r.raft.written()); n < c.min || n > c.max {
					t.Fatalf("%d entries, want %d to %d", n, c.min, c.max)
				}
				due := r.raft.written()[0].Stamp.Add(c.ttl)
				for i, e := range r.raft.written()[1:] {
					last := r.raft.written()[i].Stamp
					if age, rest := e.Stamp.Sub(last), due.Sub(e.Stamp); age > max(minStampAge, min(maxStampAge, rest/10))+10*time.Millisecond {
						t.Fatalf("stamp %d was %v old, %v before the end", i, age, rest)
					}
				}
			})
		})
	}
}

func TestTickTimeIsATenthOfTheRest(t *testing.T) {
	for _, c := range []struct{ newest, due, want time.Duration }{
		{0, 500 * time.Millisecond, 500 * time.Millisecond}, // due first
		{0, 5 * time.Second, time.Second},
		{0, 22 * time.Second, 2 * time.Second}, // then 20 s are left
		{0, 24 * time.Hour, time.Minute},
		{10 * time.Second, 5 * time.Second, 5 * time.Second}, // overdue: at once
	} {
		if got := tickTime(state.Time(c.newest), state.Time(c.due)); got != state.Time(c.want) {
			t.Errorf("newest %v, due %v: %v, want %v", c.newest, c.due, time.Duration(got), c.want)
		}
	}
}

// Time 3: while no lease can expire, an idle cluster writes nothing.
func TestIdleClusterWritesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		holder := r.do(r.claim(db, "ann", time.Minute))
		r.do(newCall(t, &lease.Pin{Key: db, Owner: "op", Reason: "test"})).want("")
		r.do(r.claim(interrex.Key{Namespace: "a", Name: "b"}, "ann", time.Second)).want("")
		r.pass(2 * time.Second)
		if holder.token() == 0 {
			t.Fatal("no token")
		}
		n := len(r.raft.written())
		r.pass(time.Hour)
		if m := len(r.raft.written()); m != n {
			t.Fatalf("%d entries in an idle hour", m-n)
		}
		if r.raft.barriers != 1 {
			t.Fatalf("%d barriers", r.raft.barriers)
		}
	})
}

// Time 4: while more are due, the next entry follows at once.
func TestNextTickFollowsAtOnceWhileMoreAreDue(t *testing.T) {
	const leases = 2500
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		for i := range leases {
			k := interrex.Key{Namespace: "default", Name: fmt.Sprint(i)}
			r.queue.Enqueue(t.Context(), r.claim(k, "ann", time.Second).Operation)
		}
		synctest.Wait()
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(500 * time.Millisecond)
		n := len(r.raft.written())
		r.pass(520 * time.Millisecond)
		if left := r.leases.Count(); left != 0 {
			t.Fatalf("%d are left", left)
		}
		// Three ticks for each 1 000 of them, and one more since their grants were
		// not stamped at once.
		if m := len(r.raft.written()) - n; m < 3 || m > 4 {
			t.Fatalf("%d ticks for %d leases", m, leases)
		}
	})
}

// Time 4: at most one tick is in flight.
func TestOneTickIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Second)).want("")
		n := len(r.raft.written())
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.pass(time.Minute)
		if m := len(r.raft.written()) - n; m != 1 {
			t.Fatalf("%d ticks in flight", m)
		}
	})
}

// Time 4: only a leader that can still commit can end a lease.
func TestFollowerEndsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Second)).want("")
		r.raft.lose("you", 0)
		n := len(r.raft.written())
		r.pass(time.Hour)
		if _, found := r.leases.Get(db); !found || len(r.raft.written()) != n {
			t.Fatal("a follower has ended a lease")
		}
	})
}

// Time 3: a last stamp before leadership is handed over.
func TestFinalTickStampsOnlyWhatCanExpire(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if err := r.applier.FinalTick(t.Context()); err != nil || len(r.raft.written()) != 0 {
			t.Fatalf("%v, %d entries while nothing can expire", err, len(r.raft.written()))
		}
		r.do(r.claim(db, "ann", time.Minute)).want("")
		r.pass(500 * time.Millisecond)
		at := r.state.Now()
		if err := r.applier.FinalTick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := r.state.Now().Sub(at); d < 500*time.Millisecond {
			t.Fatalf("the newest stamp is only %v later", d)
		}
	})
}

// A barrier in the midst of a term, after a transfer that came to nothing, takes
// no time back.
func TestTimeGoesOnThroughATransferThatEnds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", 10*time.Hour)).want("")
		began, at := time.Now(), r.state.Now()
		r.pass(30 * time.Second) // without a stamp
		r.raft.set(func(m *memRaft) { m.refusal = raft.ErrLeadershipTransferInProgress })
		r.put(r.claim(db, "bob", time.Minute)).want(interrex.ErrUnavailable)
		r.raft.set(func(m *memRaft) { m.refusal = nil })
		r.pass(time.Second)
		r.do(r.claim(db, "bob", time.Minute)).want(interrex.ErrHeld)
		if passed, went := time.Since(began), r.state.Now().Sub(at); went < passed-time.Second {
			t.Errorf("%s passed, and the state's time went on by %s", passed, went)
		}
	})
}

func TestFinalTickIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Minute)).want("")
		r.raft.set(func(m *memRaft) { m.holds = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.applier.FinalTick(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		r.raft.lose("you", 0)
		r.applier.LeadershipChanged()
		if err := r.applier.FinalTick(t.Context()); !IsNotLeaderError(err) {
			t.Fatal(err)
		}
	})
}

// A caller of FinalTick is answered once, and may have given up.
func TestALastStampThatIsAnsweredLateHoldsNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Hour)).want("")
		r.raft.set(func(m *memRaft) { m.holds = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.applier.FinalTick(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		r.pass(2 * answerTimeout)
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(time.Second)
		r.do(r.claim(db, "bob", time.Hour)).want(interrex.ErrHeld)
	})
}

// A last stamp is behind everything that is in the log, and is applied when
// FinalTick returns.
func TestFinalTickComesAfterWhatIsInTheLog(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Hour)).want("")
		r.raft.set(func(m *memRaft) { m.latency = 300 * time.Millisecond })
		r.pass(time.Second)
		before := r.put(r.claim(interrex.Key{Namespace: "default", Name: "other"}, "ann", time.Hour))
		r.pass(100 * time.Millisecond)
		now := r.state.Now()
		if err := r.applier.FinalTick(t.Context()); err != nil {
			t.Fatal(err)
		}
		before.want("")
		if d := r.state.Now().Sub(now); d < 1100*time.Millisecond {
			t.Errorf("the newest stamp is only %v later", d)
		}
		if last := r.raft.written(); len(last[len(last)-1].Operations) != 0 {
			t.Errorf("the last entry is %+v", last[len(last)-1])
		}
	})
}

func TestFinalTickIsAnsweredWhateverHappens(t *testing.T) {
	lose := func(r *rig) {
		r.raft.lose("you", 0)
		r.applier.LeadershipChanged()
	}
	for name, c := range map[string]struct {
		before, after func(*rig)
		want          func(error) bool
	}{
		"raft refuses it": {
			func(r *rig) { r.raft.set(func(m *memRaft) { m.refusal = raft.ErrLeadershipTransferInProgress }) },
			func(*rig) {}, isTransfer,
		},
		"it is lost with leadership": {
			func(r *rig) { r.raft.set(func(m *memRaft) { m.holds = true }) }, lose,
			func(err error) bool { return interrex.KindOf(err) == interrex.ErrOutcomeUnknown },
		},
		"leadership is lost before it is in the log": {
			func(r *rig) {
				r.raft.set(func(m *memRaft) { m.holds = true })
				r.put(r.claim(db, "bob", time.Hour))
			}, lose, IsNotLeaderError,
		},
		"raft never answers": {
			func(r *rig) { r.raft.set(func(m *memRaft) { m.holds = true }) },
			func(r *rig) { r.pass(answerTimeout + time.Second) },
			func(err error) bool { return interrex.KindOf(err) == interrex.ErrOutcomeUnknown },
		},
		"the applier stops": {
			func(r *rig) { r.raft.set(func(m *memRaft) { m.holds = true }) },
			func(r *rig) { r.applier.Kill() },
			func(err error) bool { return interrex.KindOf(err) == interrex.ErrOutcomeUnknown },
		},
		"the applier stops before it is in the log": {
			func(r *rig) {
				r.raft.set(func(m *memRaft) { m.holds = true })
				r.put(r.claim(db, "bob", time.Hour))
			},
			func(r *rig) { r.applier.Kill() },
			func(err error) bool { return interrex.KindOf(err) == interrex.ErrUnavailable },
		},
		"the applier has stopped": {
			func(r *rig) { r.applier.Kill(); r.pass(time.Second) }, func(*rig) {},
			func(err error) bool { return strings.Contains(err.Error(), "the applier has stopped") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.do(r.claim(db, "ann", time.Hour)).want("")
				c.before(r)
				done := make(chan error, 1)
				go func() { done <- r.applier.FinalTick(t.Context()) }()
				r.pass(time.Millisecond)
				c.after(r)
				r.pass(time.Second)
				select {
				case err := <-done:
					if err == nil || !c.want(err) {
						t.Errorf("answered %v", err)
					}
				default:
					t.Error("not answered")
				}
				r.applier.Kill()
			})
		})
	}
}
