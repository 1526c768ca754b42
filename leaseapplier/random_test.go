package leaseapplier

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// world is one random schedule: callers, each with one request and a holder's
// name of its own, and a raft that fails.
type world struct {
	*rig
	rnd    *rand.Rand
	calls  []*call        // one attempt each
	again  []*call        // second attempts
	grants map[string]int // claims that were done, by holder
	last   map[string]interrex.Revision
	keys   []interrex.Key
}

// Publish sees what was really done.
func (w *world) Publish(events []state.Event, _ interrex.Revision) {
	for _, e := range events {
		if e.Kind != interrex.LeaseClaimed {
			continue
		}
		w.grants[e.Value.(lease.Record).Holder]++
		if e.Revision <= w.last[e.Key] {
			w.t.Errorf("%s: token %d after %d", e.Key, e.Revision, w.last[e.Key])
		}
		w.last[e.Key] = e.Revision
	}
}

func (w *world) Reset(_, _ interrex.Revision) {}

// TestEveryCallIsAnsweredOnceAndTruly runs random schedules: after any failure each
// call gets one answer, nothing takes effect twice, what was answered not to have
// happened has not, and no free name has waiters.
func TestEveryCallIsAnsweredOnceAndTruly(t *testing.T) {
	first, n := Seeds(300, 30)
	for seed := first; seed < first+n; seed++ {
		if ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { schedule(t, seed) })
		}); !ok {
			return
		}
	}
}

func schedule(t *testing.T, seed uint64) {
	w := &world{rnd: rand.New(rand.NewPCG(seed, 7)), grants: map[string]int{}, last: map[string]interrex.Revision{}}
	w.rig = newRigPublishing(t, w)
	for i := range 3 {
		w.keys = append(w.keys, interrex.Key{Namespace: "default", Name: fmt.Sprint(i)})
	}
	for range 150 {
		w.act()
		w.pass(time.Duration(w.rnd.IntN(100)) * time.Millisecond)
	}
	w.heal()
	w.pass(1500 * time.Millisecond)
	w.checkNobodyWaitsInVain()
	w.pass(10 * time.Second)
	w.applier.Kill()
	if err := w.applier.Wait(); err != nil {
		t.Fatal(err)
	}
	w.queue.Kill()
	synctest.Wait()
	w.checkAnswers()
}

func (w *world) act() {
	w.t.Helper()
	switch n := w.rnd.IntN(100); {
	case n < 45:
		w.callSome()
	case n < 60:
		w.endSome()
	case n < 62:
		w.askAgain()
	case n < 66:
		w.raft.lose([]string{"", "you"}[w.rnd.IntN(2)], w.rnd.IntN(3))
		w.applier.LeadershipChanged()
	case n < 75:
		if w.raft.State() != raft.Leader {
			w.raft.lead()
			w.applier.LeadershipChanged()
		}
	case n < 80:
		errs := []error{raft.ErrEnqueueTimeout, raft.ErrLeadershipTransferInProgress, nil, nil}
		w.raft.set(func(m *memRaft) { m.refusal = errs[w.rnd.IntN(len(errs))] })
	case n < 85:
		w.raft.set(func(m *memRaft) { m.holds = !m.holds })
	case n < 88:
		w.raft.set(func(m *memRaft) { m.latency = time.Duration(w.rnd.IntN(200)) * time.Millisecond })
	case n < 90:
		w.applier.Kill()
		if err := w.applier.Wait(); err != nil && !errors.Is(err, errTransferStuck) {
			w.t.Fatal(err)
		}
		w.start()
	}
}

// callSome makes a few claims, some of which wait.
func (w *world) callSome() {
	for range 1 + w.rnd.IntN(4) {
		holder := fmt.Sprint("h", len(w.calls))
		k := w.keys[w.rnd.IntN(len(w.keys))]
		c := w.claim(k, holder, 200*time.Millisecond+time.Duration(w.rnd.IntN(1000))*time.Millisecond)
		c.RequestID = holder + ".1"
		if w.rnd.IntN(2) == 0 {
			c.Wait = &queue.Wait{Until: time.Now().Add(time.Duration(w.rnd.IntN(8000)) * time.Millisecond)}
			if w.rnd.IntN(2) == 0 {
				c.Wait.Every = 300 * time.Millisecond // and never retries
			}
		}
		w.calls = append(w.calls, c)
		go w.queue.Enqueue(w.t.Context(), c.Operation)
	}
}

// askAgain retries a claim that waits.
func (w *world) askAgain() {
	if len(w.calls) == 0 {
		return
	}
	old := w.calls[w.rnd.IntN(len(w.calls))]
	if old.Wait == nil || old.Attempt > 0 {
		return
	}
	c := newCall(w.t, old.Command)
	c.RequestID, c.Attempt, c.Wait = old.RequestID, 1, old.Wait
	w.again = append(w.again, c)
	go w.queue.Enqueue(w.t.Context(), c.Operation)
}

// endSome revokes a lease, or ends a call.
func (w *world) endSome() {
	k := w.keys[w.rnd.IntN(len(w.keys))]
	if held, found := w.leases.Get(k); found && w.rnd.IntN(2) == 0 {
		go w.queue.Enqueue(w.t.Context(), w.revoke(k, held.Token).Operation)
		return
	}
	if len(w.calls) == 0 {
		return
	}
	c := w.calls[w.rnd.IntN(len(w.calls))]
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
}

func (w *world) heal() {
	w.raft.set(func(m *memRaft) { m.refusal, m.holds, m.latency = nil, false, time.Millisecond })
	if w.raft.State() != raft.Leader {
		w.raft.lead()
		w.applier.LeadershipChanged()
	}
}

func (w *world) held(k interrex.Key) bool {
	_, found := w.leases.Get(k)
	return found
}

func (w *world) checkNobodyWaitsInVain() {
	for i, c := range w.calls {
		if !c.isOpen() || c.Wait == nil || c.Gone() {
			continue
		}
		if k := c.Command.About().Key; !w.held(k) {
			w.t.Errorf("call %d waits for %v, which is free", i, k)
		}
	}
}

func (w *world) checkAnswers() {
	retried := map[string]bool{}
	for _, c := range w.again {
		c.result()
		retried[c.RequestID] = true
	}
	for i, c := range w.calls {
		done := w.grants[fmt.Sprint("h", i)]
		kind := c.kind()
		switch {
		case done > 1:
			w.t.Errorf("call %d took effect %d times", i, done)
		case kind == "" && done != 1:
			w.t.Errorf("call %d is answered with a grant that never was", i)
		case retried[c.RequestID]: // a refusal is about its own attempt
		case kind != "" && kind != interrex.ErrOutcomeUnknown && done != 0:
			w.t.Errorf("call %d is answered %q, and was granted", i, kind)
		}
	}
}
