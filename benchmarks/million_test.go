package benchmarks

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// million is how many leases one cluster should hold.
const million = 1_000_000

// replica is a state with the table of leases, and the next entry for it.
type replica struct {
	b      *testing.B
	state  *machine.State
	leases *lease.Table
	index  uint64
	now    state.Time
}

func newReplica(b *testing.B) *replica {
	b.Helper()
	r := &replica{b: b, leases: lease.New()}
	var err error
	if r.state, err = machine.New(machine.Config{Tables: []state.Table{r.leases}}); err != nil {
		b.Fatal(err)
	}
	return r
}

// entry encodes the next entry of the log.
func (r *replica) entry(operations ...state.Operation) *raft.Log {
	r.index++
	e := machine.Entry{Stamp: r.now, Wall: time.Unix(0, int64(r.now)), Operations: operations}
	return &raft.Log{Index: r.index, Term: 1, Type: raft.LogCommand, Data: e.Append(nil)}
}

func (r *replica) apply(l *raft.Log) []state.Result {
	results, _ := r.state.Apply(l).([]state.Result)
	if err := r.state.Halted(); err != nil {
		r.b.Fatal(err)
	}
	return results
}

func claimOf(n int) state.Operation {
	c := &lease.Claim{Key: numbered("lease", int64(n)), Holder: fmt.Sprintf("host-%08d/1234567", n), TTL: time.Hour + time.Duration(n)}
	return state.Operation{Table: machine.LeaseTable, Data: c.Append(nil)}
}

// crowd claims n leases, in entries of a thousand. Each expires a nanosecond after the
// previous one.
func crowd(b *testing.B, n int) *replica {
	b.Helper()
	r := newReplica(b)
	for first := 0; first < n; first += 1000 {
		var claims []state.Operation
		for i := range min(1000, n-first) {
			claims = append(claims, claimOf(first+i))
		}
		for _, result := range r.apply(r.entry(claims...)) {
			if result.Err != nil {
				b.Fatal(result.Err)
			}
		}
	}
	return r
}

// BenchmarkExpiry measures the expiry of one lease, in its own entry, among n.
func BenchmarkExpiry(b *testing.B) {
	for _, n := range []int{10_000, 100_000, million} {
		b.Run(fmt.Sprintf("leases=%d", n), func(b *testing.B) {
			var took time.Duration
			ends := 0
			for b.Loop() {
				took += crowd(b, n).expire(n / 2)
				ends += n / 2
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(took.Nanoseconds())/float64(ends), "ns/expiry")
		})
	}
}

// expire expires a number of leases, each in its own entry.
func (r *replica) expire(n int) time.Duration {
	r.b.Helper()
	all := r.leases.Count()
	logs := make([]*raft.Log, n)
	due, _ := r.state.Due()
	for i := range logs {
		r.now = due + state.Time(i)
		logs[i] = r.entry()
	}
	runtime.GC()
	start := time.Now()
	for _, l := range logs {
		r.apply(l)
	}
	took := time.Since(start)
	if left := r.leases.Count(); left != all-n {
		r.b.Fatalf("%d leases are left of %d, want %d", left, all, all-n)
	}
	return took
}

// BenchmarkMemory measures by how much the heap grows for one lease, after claims and
// after a restore.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		before := heap()
		claimed := crowd(b, million)
		b.ReportMetric(float64(heap()-before)/million, "bytes/lease")
		snapshot := claimed.snapshot()
		before = heap()
		restored := newReplica(b)
		restored.restore(snapshot)
		b.ReportMetric(float64(heap()-before)/million, "restored-bytes/lease")
		runtime.KeepAlive(claimed)
		runtime.KeepAlive(restored)
		runtime.KeepAlive(snapshot)
	}
	b.ReportMetric(0, "ns/op")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
