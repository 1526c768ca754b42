package benchmarks

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// fanOut is how long a watch fan-out is measured.
const fanOut = 5 * time.Second

// BenchmarkWatch measures one agent, one writer and a number of watchers of everything,
// through the Go client: the time from the start of a claim until a watcher has the
// event. Paced is 10 claims a second; otherwise the writer claims as fast as it is
// answered, and the watchers lag by what is in flight. The processor times of the agent,
// and of this process with the writer and the watchers, are for 100 000 deliveries.
func BenchmarkWatch(b *testing.B) {
	for _, watchers := range []int{100, 1000} {
		for pace, every := range map[string]time.Duration{"paced": 100 * time.Millisecond, "saturated": 0} {
			b.Run(fmt.Sprintf("watchers=%d/%s", watchers, pace), func(b *testing.B) {
				for b.Loop() {
					watchFanOut(b, watchers, every)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func watchFanOut(b *testing.B, watchers int, every time.Duration) {
	c := newCluster(b, 1, "off")
	defer c.end()
	a := newAudience(b, c, watchers)
	defer a.end()
	agent, own := c.used(), ownTime(b)
	start := time.Now()
	for n := range maxClaims {
		last := n == maxClaims-1 || time.Since(start) >= fanOut
		a.write(b, n, last)
		if last {
			b.ReportMetric(float64(n)/time.Since(start).Seconds(), "claims/s")
			break
		}
		if every > 0 {
			time.Sleep(every)
		}
	}
	a.over.Wait()
	lags := slices.Concat(a.lags...)
	b.ReportMetric(float64(len(lags))/time.Since(start).Seconds(), "deliveries/s")
	share := 100_000 / float64(len(lags))
	b.ReportMetric((c.used()-agent).Seconds()*share, "agent-s/100k")
	b.ReportMetric((ownTime(b)-own).Seconds()*share, "own-s/100k")
	slices.Sort(lags)
	b.ReportMetric(ms(quantile(lags, 0.50)), "lag-p50-ms")
	b.ReportMetric(ms(quantile(lags, 0.99)), "lag-p99-ms")
}

// ownTime returns the processor time of this process: of the writer and all watchers.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	ticks, err := processorTicks(os.Getpid())
	if err != nil {
		b.Fatal(err)
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// maxClaims bounds the writes of one fan-out.
const maxClaims = 1 << 17

// lastWord is the name of the last claim.
const lastWord = "last"

// audience is a writer and its watchers.
type audience struct {
	writer interrex.Leases
	began  []atomic.Int64    // when the nth claim was begun
	lags   [][]time.Duration // by watcher, in the order of the claims
	ctx    context.Context
	end    context.CancelFunc
	over   sync.WaitGroup
}

// newAudience starts a number of watches, a hundred through each client.
func newAudience(b *testing.B, c *cluster, watchers int) *audience {
	b.Helper()
	a := &audience{writer: c.dial(client.Config{}).Leases(), began: make([]atomic.Int64, maxClaims), lags: make([][]time.Duration, watchers)}
	a.ctx, a.end = context.WithTimeout(b.Context(), fanOut+patience)
	var from *client.Client
	var ready sync.WaitGroup
	for i := range watchers {
		if i%100 == 0 {
			from = c.dial(client.Config{})
		}
		w, err := from.Leases().Watch(a.ctx, interrex.WatchRequest{})
		if err != nil {
			b.Fatal(err)
		}
		ready.Add(1)
		a.over.Go(func() {
			defer w.Close()
			if e, err := w.Next(a.ctx); err != nil || e.Kind != interrex.EndOfSnapshot {
				b.Errorf("a watch begins with %q, %v", e.Kind, err)
			}
			ready.Done()
			a.watch(b, i, w)
		})
	}
	ready.Wait()
	return a
}

// watch records the lag of every claim, up to the last.
func (a *audience) watch(b *testing.B, watcher int, w interrex.Watch[interrex.LeaseEvent]) {
	for n := 0; ; n++ {
		e, err := w.Next(a.ctx)
		if err != nil {
			b.Errorf("a watch has ended after %d events: %v", n, err)
			return
		}
		a.lags[watcher] = append(a.lags[watcher], time.Duration(time.Now().UnixNano()-a.began[n].Load()))
		if e.Lease.Key.Name == lastWord {
			return
		}
	}
}

// write claims once more.
func (a *audience) write(b *testing.B, n int, last bool) {
	b.Helper()
	key := numbered("watched", int64(n))
	if last {
		key.Name = lastWord
	}
	a.began[n].Store(time.Now().UnixNano())
	if _, err := a.writer.Claim(a.ctx, interrex.ClaimRequest{Key: key, Holder: holder, TTL: ttl}); err != nil {
		b.Fatal(err)
	}
}
