package benchmarks

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// unmatchedCallers are the callers whose claims nobody watches.
const unmatchedCallers = 64

// watcher opens the nth watch of something that no claim matches, since a revision or
// from what exists, until ctx ends.
type watcher func(ctx context.Context, b *testing.B, n int, since uint64)

// BenchmarkUnmatched measures claims at one agent, and the agent's processor time for
// each, while others watch what no claim matches: on the stream of a Go client, with a
// call each over HTTP/2, and with a stream of server-sent events each over HTTP/2.
func BenchmarkUnmatched(b *testing.B) {
	for _, kind := range []string{"stream", "call", "events"} {
		b.Run(kind, func(b *testing.B) {
			c := newCluster(b, 1, "off")
			defer c.end()
			open := map[string]func(*testing.B, *cluster) watcher{"stream": onStreams, "call": withCalls, "events": withEvents}[kind](b, c)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			leases := c.dial(client.Config{}).Leases()
			next := newNames(b)
			opened := 0
			for b.Loop() {
				for _, watchers := range []int{0, 5000, 10_000} {
					c.openAll(ctx, open, opened, watchers)
					opened = watchers
					var done atomic.Int64
					claim := func(int) error {
						done.Add(1)
						_, err := leases.Claim(b.Context(), interrex.ClaimRequest{Key: next(), Holder: holder, TTL: ttl})
						return err
					}
					closedLoop(unmatchedCallers, cpuWarm, claim)
					done.Store(0)
					used := c.used()
					s := closedLoop(unmatchedCallers, cpuSlice, claim)
					if s.Err != "" {
						b.Fatal(s.Err)
					}
					each := (c.used() - used).Seconds() * 1e6 / float64(done.Load())
					progress(b, "%s, %d watchers: %.0f claims/s, p99 %.1f ms, %.1f µs of the agent's processor each", kind, watchers, s.PerSecond, ms(s.P99), each)
					b.ReportMetric(s.PerSecond, fmt.Sprintf("claims/s-with-%d", watchers))
					b.ReportMetric(each, fmt.Sprintf("agent-us/claim-with-%d", watchers))
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func (c *cluster) openAll(ctx context.Context, open watcher, from, to int) {
	c.b.Helper()
	now, err := c.status(0)
	if err != nil {
		c.b.Fatal(err)
	}
	var all sync.WaitGroup
	slots := make(chan struct{}, 64)
	for n := from; n < to; n++ {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			open(ctx, c.b, n, now.GetRevision())
		})
	}
	all.Wait()
}

// onStreams opens a hundred watches through each client.
func onStreams(b *testing.B, c *cluster) watcher {
	clients := make([]*client.Client, 100)
	for i := range clients {
		clients[i] = c.dial(client.Config{})
	}
	return func(ctx context.Context, b *testing.B, n int, since uint64) {
		w, err := clients[n%len(clients)].Leases().Watch(ctx, interrex.WatchRequest{Namespace: "unmatched", Prefix: fmt.Sprint(n)})
		if err == nil {
			_, err = w.Next(ctx) // the end of its snapshot
		}
		if err != nil {
			b.Error(err)
		}
	}
}

func withCalls(_ *testing.B, c *cluster) watcher {
	h := unencrypted()
	return func(ctx context.Context, b *testing.B, n int, since uint64) {
		body := fmt.Sprintf(`{"namespace":"unmatched","prefix":"%d"}`, n)
		frame := append([]byte{0, 0, 0, 0, byte(len(body))}, body...)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url(0)+"/interrex.v1.LeaseService/Watch", strings.NewReader(string(frame)))
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/connect+json")
		begin(ctx, b, h, r)
	}
}

func withEvents(_ *testing.B, c *cluster) watcher {
	h := unencrypted()
	return func(ctx context.Context, b *testing.B, n int, since uint64) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/changes?tag=t%d&since=%d", c.url(0), n, since), nil)
		if err != nil {
			b.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		begin(ctx, b, h, r)
	}
}

// begin waits for the headers of a response, and reads it until ctx ends.
func begin(ctx context.Context, b *testing.B, h *http.Client, r *http.Request) {
	a, err := h.Do(r)
	if err != nil {
		b.Error(err)
		return
	}
	if a.StatusCode != http.StatusOK {
		b.Errorf("%s", a.Status)
	}
	go func() {
		defer a.Body.Close()
		if _, err := io.Copy(io.Discard, a.Body); ctx.Err() == nil {
			b.Errorf("a watch has ended: %v", err)
		}
	}()
}
