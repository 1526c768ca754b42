package resource_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
)

// many is what the table must be good for: resources with 512 bytes of data.
const many = 500_000

func manyID(i int) interrex.ResourceID {
	return id("bench.v1.Thing", fmt.Sprintf("group-%03d/thing-%08d", i/1000, i))
}

// crowd makes a table of n resources in random order.
func crowd(b testing.TB, n int) *world {
	w := newWorld(b)
	r := rand.New(rand.NewPCG(1, 2))
	data := interrex.ResourceData{TypeURL: "type.googleapis.com/google.protobuf.Struct", Value: bytes.Repeat([]byte{'x'}, 512)}
	for _, i := range r.Perm(n) {
		w.run((&resource.Write{ID: manyID(i), Data: data}).Append(nil))
	}
	return w
}

// run applies a command as State does.
func (w *world) run(data []byte) {
	c, err := w.table.Decode(data)
	if err == nil {
		err = w.table.Check(0, c)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.revision++
	w.table.Apply(&state.Turn{Revision: w.revision, Wall: epoch, Table: machine.ResourceTable}, c)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkMemoryOfResource(b *testing.B) {
	for b.Loop() {
		before := heap()
		w := crowd(b, many)
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB")
		snapshot := w.snapshot()
		w, before = nil, heap()
		fresh := resource.New()
		if err := fresh.Restore(1, bytes.NewReader(snapshot)); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(heap()-before)/(1<<20), "restored-MiB")
		runtime.KeepAlive(w)
		runtime.KeepAlive(fresh)
		runtime.KeepAlive(snapshot)
	}
}

func BenchmarkMany(b *testing.B) {
	w := crowd(b, many)
	r := rand.New(rand.NewPCG(3, 4))
	data := interrex.ResourceData{TypeURL: "type.googleapis.com/google.protobuf.Struct", Value: bytes.Repeat([]byte{'y'}, 256)}
	b.Run("Write256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			i := manyID(r.IntN(many))
			c := (&resource.Write{ID: i, Version: w.get(i).Version(), Data: data}).Append(nil)
			b.StartTimer()
			w.run(c)
		}
	})
	b.Run("Read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			i := manyID(r.IntN(many))
			b.StartTimer()
			if w.get(i) == nil {
				b.Fatal("it is not there")
			}
		}
	})
	b.Run("List1000ByPrefix", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s := interrex.ResourceSelection{Type: manyID(0).Type, Tenancy: interrex.Tenancy{}.WithDefaults(), NamePrefix: fmt.Sprintf("group-%03d/", r.IntN(500))}
			w.table.Read(func(v resource.ReadView) {
				if items, more := v.List(s, "", 1000); len(items) != 1000 || more {
					b.Fatal(len(items), more)
				}
			})
		}
	})
	b.Run("Freeze", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w.table.Freeze().Release()
		}
	})
	b.Run("WriteSnapshot", func(b *testing.B) {
		for b.Loop() {
			v := w.table.Freeze()
			if err := v.Write(io.Discard); err != nil {
				b.Fatal(err)
			}
			v.Release()
		}
		b.ReportMetric(many*float64(b.N)/b.Elapsed().Seconds(), "resources/s")
	})
	snapshot := w.snapshot()
	b.Run("Restore", func(b *testing.B) {
		for b.Loop() {
			if err := resource.New().Restore(1, bytes.NewReader(snapshot)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(many*float64(b.N)/b.Elapsed().Seconds(), "resources/s")
	})
}
