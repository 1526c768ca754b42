package benchmarks

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/state"
)

// BenchmarkSnapshot writes a million leases into raft's snapshot store on disk while
// entries of 64 extends are applied without a pause: it measures how long that takes,
// and the longest time between two applied entries. Then it restores the snapshot.
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

// longestGap applies entries, as raft's FSM goroutine does, from begin until the
// channel that begin returned is closed.
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

// extends returns an entry of 64 extends, each to a later time than the last.
func (r *replica) extends() *raft.Log {
	r.now++
	operations := make([]state.Operation, 64)
	for i := range operations {
		n := (int(r.index)*7919 + i*15485863) % million
		e := &lease.Extend{Key: numbered("lease", int64(n)), Token: interrex.Token(n + 1), TTL: 2 * time.Hour}
		operations[i] = state.Operation{Table: machine.LeaseTable, Data: e.Append(nil)}
	}
	return r.entry(operations...)
}

func closedAfter(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	time.AfterFunc(d, func() { close(done) })
	return done
}

// persist freezes the state, and writes it concurrently with further entries; it closes
// the returned channel when done.
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

// snapshot returns the bytes of a snapshot.
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

// restore restores a snapshot into an empty state.
func (r *replica) restore(snapshot []byte) {
	r.b.Helper()
	if err := r.state.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil {
		r.b.Fatal(err)
	}
	if n := r.leases.Count(); n != million {
		r.b.Fatalf("%d leases are restored, want %d", n, million)
	}
}
