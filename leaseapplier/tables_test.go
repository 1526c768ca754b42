package leaseapplier

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// register makes a call to a register.
func (r *rig) register(data []byte) *call {
	r.t.Helper()
	c, err := r.state.Decode(testtable.RegisterTable, data)
	if err != nil {
		r.t.Fatal(err)
	}
	call := newCall(r.t, c)
	call.Table = testtable.RegisterTable
	return call
}

// registerWaiting makes one that would wait if it could.
func (r *rig) registerWaiting(data []byte) *call {
	r.t.Helper()
	c := r.register(data)
	c.RequestID, c.Wait = "r.1", &queue.Wait{Until: time.Now().Add(time.Hour)}
	return c
}

func TestWithoutATableWhoseOperationsMayWaitNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, machine.Config{Tables: []state.Table{testtable.NewRegister()}})
		r.do(r.register(testtable.Set("db", "taken", 0))).want("")
		r.do(r.registerWaiting(testtable.Set("db", "mine", 0))).want("")
		r.do(r.register(testtable.Set("db", "short", time.Second))).want("")
		r.pass(2 * time.Second)
		r.do(r.register(testtable.Delete("db"))).want("not found") // the tick has ended it
		if r.applier.Waiting(db) != 0 {
			t.Error("something waits")
		}
		for name := range gather(t, r.metrics) {
			if strings.HasPrefix(name, "interrex_lease_ops_total") {
				t.Errorf("counted as an operation of leases: %s", name)
			}
		}
	})
}

func TestCommandOfAnotherTableWithTheSameKeyNeitherWaitsNorFrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leases := lease.New()
		r := newRigOf(t, machine.Config{Tables: []state.Table{leases, testtable.NewRegister()}})
		ann := r.do(r.claim(db, "ann", time.Minute))
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		set, del := r.registerWaiting(testtable.Set("db", "x", 0)), r.register(testtable.Delete("db"))
		if set.Command.About().Key != db || del.Command.About().Key != db {
			t.Fatal("another key")
		}
		r.do(set).want("")
		r.do(del).want("")
		r.pass(time.Second)
		for _, e := range r.raft.written()[n:] {
			for _, op := range e.Operations {
				if op.Table == machine.LeaseTable {
					t.Errorf("attempt %d of %s came into the log", op.Attempt, op.RequestID)
				}
			}
		}
		if !bob.isOpen() || r.applier.Waiting(db) != 1 {
			t.Fatal("bob does not wait any more")
		}
		r.do(r.revoke(db, ann.token())).want("")
		bob.want("")
	})
}

// An entry with a long operation has room for some of the waiters' claims; the
// others come in the next one.
func TestWaitersDoNotFillAnEntryBeyondItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRigOf(t, machine.Config{Tables: []state.Table{lease.New(), testtable.NewRegister()}})
		var held, waiting []*call
		for i := range 400 {
			k := interrex.Key{Namespace: "short", Name: fmt.Sprint(i)}
			held = append(held, r.claim(k, "ann", time.Second))
			w := newCall(t, &lease.Claim{Key: k, Holder: "bob", TTL: time.Minute, Metadata: metadata(t)})
			w.RequestID, w.Wait = fmt.Sprint("b.", i), &queue.Wait{Until: time.Now().Add(time.Hour)}
			waiting = append(waiting, w)
		}
		r.do2(held...)
		r.put(waiting...)
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.claim(db, "ann", time.Minute))
		long := strings.Repeat("x", limits.MaxOperationBytes-256)
		r.put(r.register(testtable.Set("a", long, 0)))
		r.pass(2 * time.Second)
		n := len(r.raft.written())
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(sweepInterval / 2) // before they are looked after
		next := r.raft.written()[n:]
		if len(next) < 2 {
			t.Fatalf("%d entries", len(next))
		}
		first := next[0].Operations
		if first[len(first)-1].Table != testtable.RegisterTable || len(first) > len(waiting) {
			t.Errorf("%d entries, the first of %d operations", len(next), len(first))
		}
		for _, w := range waiting {
			w.want("")
		}
	})
}

// metadata is as long as it may be.
func metadata(t *testing.T) codec.Metadata {
	t.Helper()
	m, err := codec.NewMetadata(map[string]string{"k": strings.Repeat("v", codec.MaxMetadata-1)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
