package benchmarks

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
)

// million is how many leases one cluster is meant to bear.
const million = 1_000_000

// replica is a state with the table of leases, and the next entry for it.
type replica struct {
	b      *testing.B
	state  *state.State
	leases *lease.Table
	index  uint64
	now    state.Time
}

func newReplica(b *testing.B) *replica {
	b.Helper()
	r := &replica{b: b, leases: lease.New(lease.Config{})}
	var err error
	if r.state, err = state.New(state.Config{Tables: []state.Table{r.leases}}); err != nil {
		b.Fatal(err)
	}
	return r
}

// entry encodes the next entry of the log.
func (r *replica) entry(operations ...state.Operation) *raft.Log {
	r.index++
	e := state.Entry{Stamp: r.now, Wall: time.Unix(0, int64(r.now)), Operations: operations}
	return &raft.Log{Index: r.index, Term: 1, Type: raft.LogCommand, Data: state.AppendEntry(nil, &e)}
}

func (r *replica) apply(l *raft.Log) []state.Result {
	results, _ := r.state.Apply(l).([]state.Result)
	if err := r.state.Halted(); err != nil {
		r.b.Fatal(err)
	}
	return results
}

func claimOf(n int) state.Operation {
	c := lease.Claim{Key: numbered("lease", int64(n)), Holder: fmt.Sprintf("host-%08d/1234567", n), TTL: time.Hour + time.Duration(n)}
	return state.Operation{Table: state.LeaseTable, Data: c.Append(nil)}
}

// crowd claims n leases, in entries of a thousand. Each ends a nanosecond after
// the one before it.
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

// BenchmarkExpiry is the end of one lease by time, in an entry of its own,
// among so many.
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

// expire ends so many leases, each in an entry of its own.
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

// BenchmarkMemory is what the heap grows by for one lease, after claims and
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

// BenchmarkSnapshot is a million leases into raft's snapshot store on the disk,
// while entries of 64 extends are applied without a pause: how long it takes,
// and the longest time between two applied entries. Then it is restored.
func BenchmarkSnapshot(b *testing.B) {
	r := crowd(b, million)
	b.Run("persist", func(b *testing.B) {
		store, err := raftworker.NewSnapshotStore(shortDir(b), 1, nil)
		if err != nil {
			b.Fatal(err)
		}
		var took, stalls, usual []float64
		for b.Loop() {
			for range 5 {
				quiet := r.longestGap(func() <-chan struct{} { return closedAfter(time.Second) })
				start := time.Now()
				stall := r.longestGap(func() <-chan struct{} { return r.persist(store) })
				took, stalls, usual = append(took, ms(time.Since(start))), append(stalls, ms(stall)), append(usual, ms(quiet))
				progress(b, "%v, at most %v between two entries; %v without a snapshot", time.Since(start), stall, quiet)
			}
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(median(took), "persist-ms")
		b.ReportMetric(median(stalls), "stall-ms")
		b.ReportMetric(slices.Max(stalls), "max-stall-ms")
		b.ReportMetric(median(usual), "usual-ms")
	})
	snapshot := r.snapshot()
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			newReplica(b).restore(snapshot)
		}
		b.ReportMetric(float64(len(snapshot))/million, "bytes/lease")
	})
}

// longestGap applies entries, as raft's one goroutine does that calls an FSM,
// from begin until what that gave is closed.
func (r *replica) longestGap(begin func() <-chan struct{}) (gap time.Duration) {
	last := time.Now()
	done := begin()
	for {
		for _, result := range r.apply(r.extends()) {
			if result.Err != nil {
				r.b.Fatal(result.Err)
			}
		}
		now := time.Now()
		gap, last = max(gap, now.Sub(last)), now
		select {
		case <-done:
			return gap
		default:
		}
	}
}

// extends is an entry of 64 extends, each to a later time than the last.
func (r *replica) extends() *raft.Log {
	r.now++
	operations := make([]state.Operation, 64)
	for i := range operations {
		n := (int(r.index)*7919 + i*15485863) % million
		e := lease.Extend{Key: numbered("lease", int64(n)), Token: interrex.Token(n + 1), TTL: 2 * time.Hour}
		operations[i] = state.Operation{Table: state.LeaseTable, Data: e.Append(nil)}
	}
	return r.entry(operations...)
}

func closedAfter(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// persist freezes the state, and writes it beside whatever comes; then what it
// gave is closed.
func (r *replica) persist(store raft.SnapshotStore) <-chan struct{} {
	r.b.Helper()
	frozen, err := r.state.Snapshot()
	if err != nil {
		r.b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer frozen.Release()
		_, transport := raft.NewInmemTransport("")
		sink, err := store.Create(raft.SnapshotVersionMax, r.index, 1, raft.Configuration{}, 0, transport)
		if err == nil {
			err = frozen.Persist(sink)
		}
		if err != nil {
			r.b.Error(err)
		}
	}()
	return done
}

// snapshot gives the bytes of a snapshot.
func (r *replica) snapshot() []byte {
	r.b.Helper()
	frozen, err := r.state.Snapshot()
	if err != nil {
		r.b.Fatal(err)
	}
	defer frozen.Release()
	sink := &memorySink{}
	if err := frozen.Persist(sink); err != nil {
		r.b.Fatal(err)
	}
	return sink.Bytes()
}

// memorySink is a raft.SnapshotSink.
type memorySink struct{ bytes.Buffer }

func (*memorySink) ID() string    { return "memory" }
func (*memorySink) Cancel() error { return nil }
func (*memorySink) Close() error  { return nil }

// restore puts a snapshot in the place of an empty state.
func (r *replica) restore(snapshot []byte) {
	r.b.Helper()
	if err := r.state.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil {
		r.b.Fatal(err)
	}
	if n := r.leases.Count(); n != million {
		r.b.Fatalf("%d leases are restored, want %d", n, million)
	}
}
