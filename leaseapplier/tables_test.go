package leaseapplier

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

// register makes a call to a register.
func (r *rig) register(data []byte) *call {
	r.t.Helper()
	c, err := r.state.Decode(statetest.RegisterTable, data)
	if err != nil {
		r.t.Fatal(err)
	}
	call := newCall(r.t, c)
	call.Table = statetest.RegisterTable
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
		r := newRigOf(t, state.Config{Tables: []state.Table{statetest.NewRegister()}})
		r.do(r.register(statetest.Set("db", "taken", 0))).want("")
		r.do(r.registerWaiting(statetest.Set("db", "mine", 0))).want("")
		r.do(r.register(statetest.Set("db", "short", time.Second))).want("")
		r.pass(2 * time.Second)
		r.do(r.register(statetest.Delete("db"))).want("not found") // the tick has ended it
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
		leases := lease.New(lease.Config{})
		r := newRigOf(t, state.Config{Tables: []state.Table{leases, statetest.NewRegister()}})
		ann := r.do(r.claim(db, "ann", time.Minute))
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		set, del := r.registerWaiting(statetest.Set("db", "x", 0)), r.register(statetest.Delete("db"))
		if set.Command.About().Key != db || del.Command.About().Key != db {
			t.Fatal("another key")
		}
		r.do(set).want("")
		r.do(del).want("")
		r.pass(time.Second)
		for _, e := range r.raft.written()[n:] {
			for _, op := range e.Operations {
				if op.Table == state.LeaseTable {
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
