package leaseapplier

import (
	"strconv"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/queue"
)

func (r *rig) pin(k interrex.Key, owner string, d time.Duration) *call {
	return newCall(r.t, &lease.Pin{Key: k, Owner: owner, For: d})
}

// sameEntry demands that the name's end and the waiter's grant were one entry.
func (r *rig) sameEntry(before int, bob *call) {
	r.t.Helper()
	bob.want("")
	if n := len(r.raft.written()) - before; n != 1 {
		r.t.Fatalf("%d entries, want 1", n)
	}
}

func TestUnpinOfAnOverdueLeaseGrantsItToTheWaiterInThatEntry(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Second)).want("")
		r.do(r.pin(db, "op", 0)).want("")
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.pass(5 * time.Second)
		if !bob.isOpen() {
			t.Fatal("a pinned lease has ended")
		}
		n := len(r.raft.written())
		r.do(newCall(t, &lease.Unpin{Key: db, Owner: "op"})).want("")
		r.sameEntry(n, bob)
	})
}

func TestTheLastOfSeveralUnpinsGrantsAnOverdueLeaseToTheWaiterInThatEntry(t *testing.T) {
	for name, done := range map[string]func(*testing.T, *rig, *call, *call){
		"a group": func(t *testing.T, r *rig, one, two *call) { r.do(group(t, one, two)).want("") },
		"one entry": func(_ *testing.T, r *rig, one, two *call) {
			r.raft.set(func(m *memRaft) { m.holds = true })
			r.put(r.claim(other, "dan", time.Minute)) // the entry before, during which the unpins come together
			r.pass(10 * time.Millisecond)
			r.put(one)
			r.put(two)
			r.raft.set(func(m *memRaft) { m.holds = false })
			r.pass(10 * time.Millisecond)
			one.want("")
			two.want("")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.do(r.claim(db, "ann", time.Second)).want("")
				r.do(r.pin(db, "op", 0)).want("")
				r.do(r.pin(db, "night", 0)).want("")
				bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
				r.pass(5 * time.Second)
				done(t, r, newCall(t, &lease.Unpin{Key: db, Owner: "op"}), newCall(t, &lease.Unpin{Key: db, Owner: "night"}))
				bob.want("")
				entries := r.raft.written()
				last := entries[len(entries)-1].Operations
				if len(last) < 2 {
					t.Fatalf("the last entry has %d operations: the grant came later", len(last))
				}
			})
		})
	}
}

func TestPinThatLiftsItselfGrantsAnOverdueLeaseToTheWaiter(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.do(r.claim(db, "ann", time.Second)).want("")
		r.do(r.pin(db, "op", 1500*time.Millisecond)).want("")
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.pass(1400 * time.Millisecond)
		if !bob.isOpen() {
			t.Fatal("a pinned lease has ended")
		}
		r.pass(200 * time.Millisecond)
		bob.want("")
	})
}

func TestForcedRevokeGrantsTheNameToTheWaiterInThatEntry(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		force := r.do(newCall(t, &lease.Revoke{Key: db, Force: true}))
		if force.result().Reply.(*lease.Reply).HolderUntil == 0 {
			t.Error("nobody is told until when ann may go on")
		}
		r.sameEntry(n, bob)
	})
}

func TestTransferPassesTheWaitersBy(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		transfer := r.do(newCall(t, &lease.Transfer{Key: db, Token: ann.token(), To: "dan"}))
		transfer.want("")
		r.pass(time.Second)
		if !bob.isOpen() || r.applier.Waiting(db) != 1 {
			t.Fatal("bob has left the queue")
		}
	})
}

func TestManyNamesThatEndAtOnceGoToTheirWaiters(t *testing.T) {
	const names = 2*limits.MaxEndings + 500
	bubble(t, func(t *testing.T, r *rig) {
		var held, waiting []*call
		for i := range names {
			k := interrex.Key{Namespace: "many", Name: strconv.Itoa(i)}
			held = append(held, r.claim(k, "ann", time.Minute))
			w := r.claim(k, "bob", time.Minute)
			w.RequestID = "b" + strconv.Itoa(i)
			w.Wait = &queue.Wait{Until: time.Now().Add(time.Hour)}
			waiting = append(waiting, w)
		}
		r.do2(held...)
		r.pass(time.Second)
		r.put(waiting...)
		r.pass(58 * time.Second)
		for _, w := range waiting {
			if !w.isOpen() {
				t.Fatal("granted before the end")
			}
		}
		n := len(r.raft.written())
		r.pass(2100 * time.Millisecond)
		for _, w := range waiting {
			w.want("")
		}
		for _, e := range r.raft.written()[n:] {
			if len(e.Operations) > limits.MaxOperations {
				t.Errorf("an entry of %d operations", len(e.Operations))
			}
		}
	})
}
