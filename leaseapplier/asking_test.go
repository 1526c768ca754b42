package leaseapplier

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
)

// What a fallen leader has left in the log is done by the next, which must not do it
// again for a caller that retries.
func TestWaiterThatAFallenLeaderHasGrantedIsToldByTheNext(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, time.Minute))
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.revoke(db, ann.token())) // with bob's claim behind it
		r.raft.lose("you", 1)
		r.applier.LeadershipChanged()
		synctest.Wait()
		bob.want(interrex.ErrOutcomeUnknown)
		granted, found := r.leases.Get(db)
		if !found || granted.Holder != "bob" {
			t.Fatalf("there is %+v", granted)
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.raft.lead()
		r.applier.LeadershipChanged()
		again := r.do(r.waiting("bob", "b.1", 1, time.Hour, time.Minute))
		if again.token() != granted.Token || !again.result().Replayed || again.result().Attempt != 0 {
			t.Errorf("bob is told %+v, and holds it under %s", again.result(), granted.Token)
		}
		if now, _ := r.leases.Get(db); now.Token != granted.Token {
			t.Errorf("it is granted again, under %s", now.Token)
		}
	})
}

func TestGrantThatIsOverIsNotRepeatedToOneWhoAsksOn(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, time.Minute))
		r.do(r.revoke(db, ann.token())).want("")
		r.do(r.revoke(db, bob.token())).want("")
		n := len(r.raft.written())
		r.do(r.waiting("bob", "b.1", 1, time.Hour, time.Minute)).want(interrex.ErrNotHeld)
		if m := len(r.raft.written()); m != n {
			t.Errorf("it took %d entries", m-n)
		}
	})
}

func TestWaitThatRanOutMayBeAskedForAgain(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Second, 0))
		r.pass(1100 * time.Millisecond)
		bob.want(interrex.ErrHeld)
		again := r.put(r.waiting("bob", "b.1", 1, time.Hour, 0))
		r.do(r.revoke(db, ann.token())).want("")
		if again.want(""); again.result().Replayed || again.result().Attempt != 1 {
			t.Errorf("answered %+v", again.result())
		}
	})
}

// A client that has given its request up says so by its mark.
func TestWaiterBelowItsClientsMarkIsGrantedNothing(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		b, c := r.name(1), r.name(2)
		bob, cat := r.waiting("bob", b+".1", 0, time.Hour, 0), r.waiting("cat", c+".1", 0, time.Hour, 0)
		bob.Mark, cat.Mark = 1, 1
		r.put(bob, cat)
		next := r.claim(interrex.Key{Namespace: "a", Name: "b"}, "bob", time.Minute)
		next.RequestID, next.Mark = b+".2", 2
		r.do(next).want("")
		r.do(r.revoke(db, ann.token())).want("")
		bob.want(interrex.ErrOutcomeUnknown)
		r.pass(time.Second)
		if cat.want(""); r.applier.Waiting(db) != 0 {
			t.Error("somebody waits still")
		}
	})
}

// A waiter whose name is dropped while it stands in line is told so, but not while its
// claim is in the log.
func TestWaiterWhoseNameIsGoneLeavesTheLine(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		name := r.name(1)
		retire := func() *call {
			c := newCall(t, &lease.Pin{})
			c.Table, c.Command = machine.SystemTable, &machine.Retire{Name: name, Mark: 1}
			c.Data = c.Command.Append(nil)
			return c
		}
		bob, cat := r.waiting("bob", name+".1", 0, time.Hour, 0), r.waiting("cat", "plain", 0, time.Hour, 0)
		bob.Mark = 1
		r.put(bob, cat)
		r.do(retire()).want("")
		r.pass(time.Second)
		if bob.want(interrex.ErrNameGone); r.applier.Waiting(db) != 1 {
			t.Error("it still stands in line")
		}
		again := r.waiting("bob", name+".1", 1, time.Hour, 0)
		again.Mark = 1
		r.put(again).want(interrex.ErrNameGone)

		name = r.name(2)
		dan := r.waiting("dan", name+".1", 0, time.Hour, 0)
		dan.Mark = 1
		r.put(dan)
		close(cat.stop)
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.revoke(db, ann.token())) // with dan's claim behind it
		r.pass(time.Second)
		if !dan.isOpen() {
			t.Error("it is answered while its claim is in the log")
		}
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(time.Second)
		dan.want("")
	})
}

// One who has no request id has no record either that would keep a second claim
// from being done.
func TestOneClaimOfAWaiterWithoutAnIDIsInTheLog(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "", 0, time.Hour, 0))
		n := len(r.raft.written())
		r.raft.set(func(m *memRaft) { m.holds = true })
		force := func() *call { return newCall(t, &lease.Revoke{Key: db, Force: true}) }
		r.put(force(), force(), force())
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(500 * time.Millisecond)
		bob.want("")
		claims := 0
		for _, e := range r.raft.written()[n:] {
			for _, op := range e.Operations {
				if bytes.Equal(op.Data, bob.Data) {
					claims++
				}
			}
		}
		if claims != 1 {
			t.Errorf("%d claims for one waiter", claims)
		}
	})
}
