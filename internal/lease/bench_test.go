package lease_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// million is what the table must be good for.
const million = 1_000_000

// manyKey and manyHolder have 20 bytes each.
func manyKey(i int) interrex.Key {
	return interrex.Key{Namespace: "bench", Name: fmt.Sprintf("lease-%08d", i)}
}
func manyHolder(i int) string { return fmt.Sprintf("host-%08d/1234567", i) }

// crowd makes a table of n leases in random order, and their tokens.
func crowd(b testing.TB, n int) (*world, []interrex.Token) {
	w := newWorld(b)
	tokens := make([]interrex.Token, n)
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		w.run((&lease.Claim{Key: manyKey(i), Holder: manyHolder(i), TTL: time.Hour + time.Duration(i)}).Append(nil))
		tokens[i] = interrex.Token(w.revision)
	}
	return w, tokens
}

// run applies commands as State does, in a Turn that is used again, without the
// codec of replies.
func (w *world) run(data []byte) {
	c, err := w.check(data)
	if err != nil {
		w.t.Fatal(err)
	}
	w.scratch = state.Turn{Revision: w.revision + 1, Now: w.now, Wall: epoch, Table: machine.LeaseTable}
	w.table.Apply(&w.scratch, c)
	w.revision = w.scratch.Revision
}

func BenchmarkMemoryOfLease(b *testing.B) {
	for b.Loop() {
		before := heap()
		w, _ := crowd(b, million)
		b.ReportMetric(float64(heap()-before)/million, "bytes/lease")
		fresh := lease.New()
		snapshot := w.snapshot()
		w, before = nil, heap()
		if err := fresh.Restore(fresh.Version(), bytes.NewReader(snapshot)); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(heap()-before)/million, "restored-bytes/lease")
		runtime.KeepAlive(w)
		runtime.KeepAlive(fresh)
		runtime.KeepAlive(snapshot)
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkMillion(b *testing.B) {
	w, tokens := crowd(b, million)
	r := rand.New(rand.NewPCG(3, 4))
	b.Run("Extend", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			n := r.IntN(million)
			data := (&lease.Extend{Key: manyKey(n), Token: tokens[n], TTL: 2*time.Hour + time.Duration(i)}).Append(nil)
			b.StartTimer()
			w.run(data)
		}
	})
	b.Run("ClaimAndRevoke", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			k := interrex.Key{Namespace: "bench", Name: fmt.Sprintf("lease-%08d-new", r.IntN(million))}
			claim := (&lease.Claim{Key: k, Holder: manyHolder(i), TTL: time.Minute}).Append(nil)
			revoke := (&lease.Revoke{Key: k, Token: interrex.Token(w.revision + 1)}).Append(nil)
			b.StartTimer()
			w.run(claim)
			w.run(revoke)
		}
	})
	b.Run("Freeze", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.table.Freeze().Release()
		}
	})
	b.Run("ExtendAfterFreeze", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			b.StopTimer()
			n := r.IntN(million)
			w.table.Freeze().Release()
			data := (&lease.Extend{Key: manyKey(n), Token: tokens[n], TTL: 2*time.Hour + time.Duration(i)}).Append(nil)
			b.StartTimer()
			w.run(data)
		}
	})
	var snapshot bytes.Buffer
	b.Run("WriteSnapshot", func(b *testing.B) {
		for b.Loop() {
			v := w.table.Freeze()
			if err := v.Write(io.Discard); err != nil {
				b.Fatal(err)
			}
			v.Release()
		}
	})
	if err := w.table.Freeze().Write(&snapshot); err != nil {
		b.Fatal(err)
	}
	b.Run("Restore", func(b *testing.B) {
		for b.Loop() {
			if err := lease.New().Restore(w.table.Version(), bytes.NewReader(snapshot.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ExpireOne", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			due, ok := w.table.Due()
			if !ok {
				b.Skip("all have ended")
			}
			turn := state.Turn{Revision: w.revision, Now: due, Wall: epoch, Table: machine.LeaseTable}
			w.table.Tick(&turn, 1)
			w.revision = turn.Revision
		}
	})
}
