package benchmarks

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	pacing "github.com/interrex/interrex/internal/compare"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
)

// BenchmarkCompare freezes and hashes a million leases and half a million resources of
// 512 bytes while entries of 64 extends are applied without a pause: it measures the
// processor time of the hashes, the entry that freezes, and the longest time between two
// applied entries, with and without a comparison, for equally long.
func BenchmarkCompare(b *testing.B) {
	frozen := make(chan *machine.Frozen, 1)
	r := wide(b, func(f *machine.Frozen) { frozen <- f })
	freeze := func() *machine.Frozen {
		r.apply(r.entry(state.Operation{Table: machine.SystemTable, Data: (&machine.Compare{}).Append(nil)}))
		return <-frozen
	}
	hash := func(f *machine.Frozen) {
		defer f.Release()
		if _, err := f.Hashes(pacing.Throttle(b.Context(), clock.WallClock)); err != nil {
			b.Error(err)
		}
	}
	var cpu, freezes, stalls, usual []float64
	for b.Loop() {
		for range 5 {
			before := usedBy(b, syscall.RUSAGE_SELF)
			hash(freeze())
			alone := usedBy(b, syscall.RUSAGE_SELF) - before
			var took time.Duration
			stall := r.longestStop(func() <-chan struct{} {
				began := time.Now()
				f := freeze()
				freezes = append(freezes, ms(time.Since(began)))
				done := make(chan struct{})
				go func() {
					defer close(done)
					hash(f)
					took = time.Since(began)
				}()
				return done
			})
			quiet := r.longestStop(func() <-chan struct{} { return closedAfter(took) })
			cpu, stalls, usual = append(cpu, alone.Seconds()), append(stalls, ms(stall)), append(usual, ms(quiet))
			progress(b, "%v of a processor; at most %v between two entries in %v, %v without", alone, stall, took, quiet)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(cpu), "cpu-s")
	b.ReportMetric(median(freezes), "freeze-ms")
	b.ReportMetric(slices.Max(freezes), "max-freeze-ms")
	b.ReportMetric(median(stalls), "stall-ms")
	b.ReportMetric(slices.Max(stalls), "max-stall-ms")
	b.ReportMetric(median(usual), "usual-ms")
	b.ReportMetric(slices.Max(usual), "max-usual-ms")
}

// longestStop is longestGap without the time in which the machine's other processes had
// the processor for which the thread that applies entries was waiting.
func (r *replica) longestStop(begin func() <-chan struct{}) (stop time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	done := begin()
	last, waited := time.Now(), r.waited()
	for {
		r.apply(r.extends())
		now, so := time.Now(), r.waited()
		stop = max(stop, now.Sub(last)-(so-waited))
		last, waited = now, so
		select {
		case <-done:
			return stop
		default:
		}
	}
}

// waited returns for how long this thread has waited for a processor.
func (r *replica) waited() time.Duration {
	text, err := os.ReadFile("/proc/thread-self/schedstat")
	var ran, waited int64
	if err == nil {
		_, err = fmt.Sscan(string(text), &ran, &waited)
	}
	if err != nil {
		r.b.Fatal(err)
	}
	return time.Duration(waited)
}

// wide makes a state of a million leases, half a million resources and their changes.
func wide(b *testing.B, frozen func(*machine.Frozen)) *replica {
	b.Helper()
	r := &replica{b: b, leases: lease.New()}
	var err error
	r.state, err = machine.New(machine.Config{Tables: []state.Table{r.leases, resource.New(), change.New()}, Frozen: frozen})
	if err != nil {
		b.Fatal(err)
	}
	data := interrex.ResourceData{TypeURL: "type.googleapis.com/google.protobuf.Struct", Value: bytes.Repeat([]byte{'x'}, 512)}
	fill := func(n int, make func(i int) state.Operation) {
		for first := 0; first < n; first += 1000 {
			var operations []state.Operation
			for i := range 1000 {
				operations = append(operations, make(first+i))
			}
			for _, result := range r.apply(r.entry(operations...)) {
				if result.Err != nil {
					b.Fatal(result.Err)
				}
			}
		}
	}
	fill(million, claimOf)
	fill(million/2, func(i int) state.Operation {
		w := &resource.Write{Data: data, ID: interrex.ResourceID{
			Type:    interrex.ResourceType{Group: "bench", GroupVersion: "v1", Kind: "Thing"},
			Tenancy: interrex.Tenancy{Partition: "default", Namespace: fmt.Sprint(i % 7)}, Name: fmt.Sprintf("thing-%08d", i),
		}}
		minted, err := w.Mint(rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		return state.Operation{Table: machine.ResourceTable, Data: w.Append(nil), Minted: minted}
	})
	return r
}
