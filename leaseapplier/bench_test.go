package leaseapplier

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/appliermetrics"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// nopRaft accepts and answers at once, without a state.
type nopRaft struct{}

func (nopRaft) State() raft.RaftState                              { return raft.Leader }
func (nopRaft) CurrentTerm() uint64                                { return 1 }
func (nopRaft) LeaderWithID() (raft.ServerAddress, raft.ServerID)  { return "me", "me" }
func (nopRaft) Barrier(time.Duration) raft.Future                  { return &nopFuture{} }
func (nopRaft) Apply(cmd []byte, _ time.Duration) raft.ApplyFuture { return &nopFuture{cmd} }

type nopFuture struct{ cmd []byte }

func (*nopFuture) Error() error  { return nil }
func (*nopFuture) Index() uint64 { return 0 }
func (f *nopFuture) Response() any {
	var e machine.Entry
	err := e.Decode(f.cmd)
	if err != nil {
		return nil
	}
	return make([]state.Result, len(e.Operations))
}

// BenchmarkEnqueueToDone is the way from a caller to the log and back, on a raft
// that costs nothing.
func BenchmarkEnqueueToDone(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(callers, " callers"), func(b *testing.B) {
			q, err := queue.New(queue.Config{Clock: clock.WallClock})
			if err != nil {
				b.Fatal(err)
			}
			leases := lease.New()
			s, err := machine.New(machine.Config{Tables: []state.Table{leases}})
			if err != nil {
				b.Fatal(err)
			}
			a, err := NewApplier(Config{
				Raft: nopRaft{}, Queue: q, State: s, Clock: clock.WallClock,
				Logger: &logs{at: map[string]int{"debug": 0}}, Metrics: appliermetrics.New(clock.WallClock),
			})
			if err != nil {
				b.Fatal(err)
			}
			for a.ReadyTerm() == 0 {
				time.Sleep(time.Millisecond)
			}
			drive(b, q, callers)
			a.Kill()
			q.Kill()
			if err := a.Wait(); err != nil {
				b.Fatal(err)
			}
			if err := q.Wait(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func drive(b *testing.B, q *queue.Queue, callers int) {
	claim := &lease.Claim{Key: db, Holder: "ann", TTL: time.Minute}
	data := claim.Append(nil)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			done := make(chan struct{}, 1)
			for i := c; i < b.N; i += callers {
				op := &queue.Operation{
					Operation: state.Operation{Table: machine.LeaseTable, Data: data}, Command: claim,
					Done: func(state.Result) { done <- struct{}{} },
				}
				q.Enqueue(b.Context(), op)
				<-done
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
