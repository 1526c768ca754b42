package raftworker

import (
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// TestClaimsGoThroughTheWorker claims through the queue, the real applier and
// raft, across a restart of raft in a living process.
func TestClaimsGoThroughTheWorker(t *testing.T) {
	a := newAgent(t, "a", "a")
	leases := lease.New()
	st, err := machine.New(machine.Config{Tables: []state.Table{leases}, Logger: a.log})
	if err != nil {
		t.Fatal(err)
	}
	a.state, a.cfg.State = st, st
	a.cfg.NewApplier = func(r *raft.Raft, q *queue.Queue) (leaseapplier.LeaseApplier, error) {
		return leaseapplier.NewApplier(leaseapplier.Config{Raft: r, Queue: q, State: st, Clock: clock.WallClock, Logger: a.log})
	}
	var last interrex.Token
	for _, name := range []string{"one", "two"} {
		w := a.start()
		a.leads()
		token := claim(t, a.cfg.Queue, name)
		if token <= last {
			t.Errorf("token %d after %d", token, last)
		}
		last = token
		a.stop(w)
	}
	if n := leases.Count(); n != 2 {
		t.Errorf("%d leases", n)
	}
}

func claim(t *testing.T, q *queue.Queue, name string) interrex.Token {
	t.Helper()
	key := interrex.Key{Namespace: "default", Name: name}
	c := &lease.Claim{Key: key, Holder: "ann", TTL: time.Minute}
	var result state.Result
	var done sync.WaitGroup
	done.Add(1)
	q.Enqueue(t.Context(), &queue.Operation{
		Operation: state.Operation{Table: machine.LeaseTable, Data: c.Append(nil)},
		Done:      func(r state.Result) { result = r; done.Done() },
	})
	done.Wait()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result.Reply.(*lease.Reply).Lease.Token
}
