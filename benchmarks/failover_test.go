package benchmarks

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// kills is how many leaders are stopped in each way.
const kills = 12

// BenchmarkFailover measures how long claims are unanswered when the leader of three
// agents with the default timeouts ends.
func BenchmarkFailover(b *testing.B) {
	for _, how := range []struct {
		name   string
		signal syscall.Signal
	}{{"SIGKILL", syscall.SIGKILL}, {"SIGTERM", syscall.SIGTERM}} {
		b.Run(how.name, func(b *testing.B) {
			c := newCluster(b, 3, "off")
			var gaps []time.Duration
			for b.Loop() {
				for range kills {
					gap := c.failover(how.signal)
					progress(b, "%v without an answer", gap.Round(time.Millisecond))
					gaps = append(gaps, gap)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(ms(median(gaps)), "median-ms")
			b.ReportMetric(ms(slices.Min(gaps)), "min-ms")
			b.ReportMetric(ms(slices.Max(gaps)), "max-ms")
		})
	}
}

// failover stops the leader while a caller claims without a pause, returns the
// longest time that the caller then waited for an answer, and restarts the agent.
func (c *cluster) failover(s syscall.Signal) time.Duration {
	c.b.Helper()
	leader := c.leader()
	caller := c.claimOn(leader)
	defer caller.stop()
	caller.next(c.b)
	ended := time.Now()
	c.stop(leader, s)
	gone := time.Now()
	for after := 0; after < 100; { // until answers come one after the other again
		if caller.next(c.b).After(gone) {
			after++
		}
	}
	gap := caller.longest(ended)
	caller.stop()
	c.start(leader)
	c.ready()
	return gap
}

// claimer is one caller that claims one name after the other.
type claimer struct {
	answered chan time.Time // has room for half a minute
	end      context.CancelFunc
	over     sync.WaitGroup
	seen     []time.Time
}

// claimOn starts to claim, at member i while it answers.
func (c *cluster) claimOn(i int) *claimer {
	c.b.Helper()
	addresses := []string{c.url(i)}
	for j := range c.members {
		if j != i {
			addresses = append(addresses, c.url(j))
		}
	}
	one, err := client.Dial(c.b.Context(), client.Config{Addresses: addresses})
	if err != nil {
		c.b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.b.Context())
	k := &claimer{answered: make(chan time.Time, 1<<16), end: cancel}
	next := newNames(c.b)
	k.over.Go(func() {
		defer one.Close()
		defer close(k.answered)
		for {
			if _, err := one.Leases().Claim(ctx, interrex.ClaimRequest{Key: next(), Holder: holder, TTL: ttl}); err != nil {
				if ctx.Err() == nil {
					c.b.Error(err)
				}
				return
			}
			select {
			case k.answered <- time.Now():
			case <-ctx.Done():
				return
			}
		}
	})
	return k
}

// next waits for the next answer.
func (k *claimer) next(b *testing.B) time.Time {
	b.Helper()
	select {
	case at, more := <-k.answered:
		if !more {
			b.Fatal("the caller has failed")
		}
		k.seen = append(k.seen, at)
		return at
	case <-time.After(patience):
		b.Fatalf("no claim was answered for %s", patience)
		return time.Time{}
	}
}

// longest returns the longest time between two answers since a given time.
func (k *claimer) longest(since time.Time) (gap time.Duration) {
	for _, at := range k.seen {
		if at.After(since) {
			gap = max(gap, at.Sub(since))
			since = at
		}
	}
	return gap
}

func (k *claimer) stop() {
	k.end()
	k.over.Wait()
}
