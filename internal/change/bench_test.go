package change_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
)

// polls makes so many wait, each for a tag, a kind or a prefix that is never written.
func polls(b *testing.B, w *world, n int) {
	ctx, cancel := context.WithCancel(b.Context())
	var all sync.WaitGroup
	b.Cleanup(all.Wait)
	b.Cleanup(cancel)
	for i := range n {
		q := change.Query{Limit: 1, Bytes: 1}
		switch i % 3 {
		case 0:
			q.Tags = []string{fmt.Sprint("tag", i)}
		case 1:
			q.Kinds = []string{interrex.UserChange}
		case 2:
			q.Prefix = fmt.Sprintf("prefix%05d/", i)
		}
		all.Go(func() {
			if _, err := w.feed.Await(ctx, q); err != nil {
				b.Error(err)
			}
		})
	}
	for w.feed.Waiting() < n {
		time.Sleep(time.Millisecond)
	}
}

// BenchmarkWriteThatNoPollWants is a write in an entry of its own, without long
// polls and beside 10 000 of them, in turns; ratio is how much more it costs then.
func BenchmarkWriteThatNoPollWants(b *testing.B) {
	alone, beside := newWorld(b), newWorld(b)
	polls(b, beside, 10_000)
	const turn = 2000
	var times [2][]time.Duration
	for b.Loop() {
		for i, w := range []*world{alone, beside} {
			began := time.Now()
			for n := range turn {
				w.write(fmt.Sprint("key", n%1000))
				w.Events = w.Events[:0]
			}
			times[i] = append(times[i], time.Since(began)/turn)
		}
	}
	slices.Sort(times[0])
	slices.Sort(times[1])
	without, with := float64(times[0][len(times[0])/2]), float64(times[1][len(times[1])/2])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(without, "ns/write-alone")
	b.ReportMetric(with, "ns/write-beside")
	b.ReportMetric(with/without, "ratio")
}
