package leaseapplier

import (
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/appliermetrics"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// group makes one call of the commands of several.
func group(t *testing.T, calls ...*call) *call {
	g := newCall(t, &lease.Revoke{})
	g.Table, g.Data, g.Command = 0, nil, nil
	for _, c := range calls {
		g.Group = append(g.Group, state.Part{Table: c.Table, Data: c.Data})
		g.Commands = append(g.Commands, c.Command)
	}
	return g
}

var other = interrex.Key{Namespace: "default", Name: "other"}

func TestARevokeInAGroupHandsItsNameToTheFirstWaiter(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		dan := newCall(t, &lease.Claim{Key: other, Holder: "dan", TTL: time.Minute})
		r.do(group(t, r.revoke(db, ann.token()), dan)).want("")
		if bob.token() != ann.token()+3 {
			t.Errorf("bob has token %v, the group began after %v", bob.token(), ann.token())
		}
		if m := len(r.raft.written()) - n; m != 1 {
			t.Errorf("%d entries, want 1", m)
		}
	})
}

func TestAWaiterKeepsItsPlaceBehindAGroupThatIsRefused(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		r.do(group(t, r.revoke(db, ann.token()), newCall(t, &lease.Pin{Key: other, Owner: "o"}))).want(interrex.ErrNotFound)
		if !bob.isOpen() || r.applier.Waiting(db) != 1 {
			t.Fatal("bob does not wait any more")
		}
		r.do(r.revoke(db, ann.token())).want("")
		bob.want("")
	})
}

func TestAClaimInAGroupIsHeldWhileSomebodyWaits(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		n := len(r.raft.written())
		g := group(t, newCall(t, &lease.Claim{Key: other, Holder: "dan", TTL: time.Minute}), r.claim(db, "dan", time.Minute))
		r.put(r.revoke(db, ann.token()), g) // in one batch: the name is free when its turn comes
		g.want(interrex.ErrHeld)
		if err := g.result().Err; !strings.Contains(err.Error(), "operation 2: ") || !strings.Contains(err.Error(), "others are waiting for it") {
			t.Error(err)
		}
		r.pass(10 * time.Millisecond)
		bob.want("")
		if e := r.raft.written()[n:]; len(e) != 1 || len(e[0].Operations) != 2 {
			t.Errorf("%d entries, want one with the revoke and bob's claim", len(e))
		}
	})
}

func TestATakeoverInAGroupPassesThoseWhoWait(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		bob := r.put(r.waiting("bob", "b.1", 0, time.Hour, 0))
		again := newCall(t, &lease.Claim{Key: db, Holder: "ann", TTL: time.Minute, Takeover: true})
		r.do(group(t, again)).want("")
		if !bob.isOpen() {
			t.Error("bob was answered")
		}
	})
}

// An entry with its groups counted as their operations holds no more than
// limits.MaxOperations, with the claims of those who wait.
func TestGroupsFillABatch(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		r.put(r.many(1)...) // so that what follows waits together
		n := len(r.raft.written())
		var calls []*call
		for range 2 * limits.MaxOperations / limits.MaxGroup {
			var all []*call
			for range limits.MaxGroup {
				all = append(all, newCall(t, &lease.Pin{Key: other, Owner: "o"}))
			}
			calls = append(calls, group(t, all...))
		}
		r.put(calls...)
		r.raft.set(func(m *memRaft) { m.holds = false })
		r.pass(time.Second)
		for _, c := range calls {
			c.want(interrex.ErrNotFound)
		}
		entries := r.raft.written()[n:]
		for _, e := range entries {
			count := 0
			for i := range e.Operations {
				count += e.Operations[i].Count()
			}
			if count > limits.MaxOperations {
				t.Errorf("an entry has %d operations", count)
			}
		}
		if len(entries) > 3 {
			t.Errorf("%d entries", len(entries))
		}
	})
}

func TestMetricsCountTheOperationsOfAGroup(t *testing.T) {
	m := appliermetrics.New(nil)
	op := &queue.Operation{
		Operation: state.Operation{Group: []state.Part{{Table: machine.LeaseTable}, {Table: 300}, {Table: machine.LeaseTable}}},
		Commands:  []state.Command{&lease.Claim{}, &lease.Claim{}, &lease.Pin{}},
	}
	m.RecordOperation(op, &state.Result{Err: interrex.Errorf(interrex.ErrHeld, "taken")})
	m.RecordOperation(op, &state.Result{Reply: machine.GroupReply{{}, {}, {}}})
	got := gather(t, m)
	for name, want := range map[string]float64{
		"interrex_lease_ops_total claim held": 1, "interrex_lease_ops_total pin held": 1,
		"interrex_lease_ops_total claim ok": 1, "interrex_lease_ops_total pin ok": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v: %v", name, got[name], want, got)
		}
	}
}

func TestTheOutcomeOfAGroupInTheLogIsUnknownWhenLeadershipIsLost(t *testing.T) {
	standing(t, func(t *testing.T, r *rig, ann *call) {
		r.raft.set(func(m *memRaft) { m.holds = true })
		g := r.put(group(t, r.revoke(db, ann.token()), newCall(t, &lease.Claim{Key: other, Holder: "dan", TTL: time.Minute})))
		r.raft.lose("you", 0)
		r.applier.LeadershipChanged()
		r.pass(10 * time.Millisecond)
		g.want(interrex.ErrOutcomeUnknown)
	})
}
