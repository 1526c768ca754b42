package watch_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// BenchmarkPublish is what one entry with one event costs Apply, with so many
// watchers asleep. The wakes themselves are in the figure only as far as they
// take the processor.
func BenchmarkPublish(b *testing.B) {
	for _, watchers := range []int{0, 1000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			r := watch.New(watch.Config{})
			stop := sleepers(b, r, watchers)
			events := []state.Event{{Key: "a/b", Size: 400}}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				events[0].Revision = interrex.Revision(i + 1)
				r.Publish(events, events[0].Revision)
			}
			b.StopTimer()
			stop()
		})
	}
}

// sleepers are watchers that nothing ever matches.
func sleepers(b *testing.B, r *watch.Ring, n int) (stop func()) {
	var all sync.WaitGroup
	for range n {
		w, err := r.Watch(0, interest.Scope{}, func(*state.Event) bool { return false })
		if err != nil {
			b.Fatal(err)
		}
		all.Go(func() {
			defer w.Close()
			for {
				if _, err := w.Next(context.Background()); interrex.KindOf(err) == interrex.ErrWatchClosed {
					return
				}
			}
		})
	}
	return func() {
		r.Close()
		all.Wait()
	}
}

// BenchmarkFanOut is one event's way to every one of 1 000 watchers, with so
// many events in an entry; an operation is one entry that all have read.
func BenchmarkFanOut(b *testing.B) {
	const watchers = 1000
	for _, size := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("events=%d", size), func(b *testing.B) {
			r := watch.New(watch.Config{})
			var read, all sync.WaitGroup
			for range watchers {
				w, err := r.Watch(0, interest.Scope{}, nil)
				if err != nil {
					b.Fatal(err)
				}
				all.Go(func() { count(w, size, &read) })
			}
			events := make([]state.Event, size)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				read.Add(watchers)
				for j := range events {
					events[j].Revision = interrex.Revision(i*size + j + 1)
				}
				r.Publish(events, interrex.Revision((i+1)*size))
				read.Wait()
			}
			b.ReportMetric(float64(b.N)*watchers*float64(size)/b.Elapsed().Seconds(), "deliveries/s")
			b.StopTimer()
			r.Close()
			all.Wait()
		})
	}
}

// count says Done for each entry of so many events.
func count(w *watch.Watcher, size int, read *sync.WaitGroup) {
	defer w.Close()
	for seen := 0; ; {
		events, err := w.Next(context.Background())
		if err != nil {
			return
		}
		for seen += len(events); seen >= size; seen -= size {
			read.Done()
		}
	}
}
