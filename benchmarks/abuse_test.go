package benchmarks

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// The good callers of BenchmarkAbuse.
const (
	goodCallers = 32
	goodRate    = 160 // claims of all together, a second
	goodHolds   = 16
	goodTTL     = 5 * time.Second
	abuseQuiet  = 6 * time.Second
	abuseTime   = 15 * time.Second
)

// BenchmarkAbuse measures what the good callers notice of each attack: 32 clients that
// speak JSON, and 16 holds of 5 s, of another process than the attacker's.
func BenchmarkAbuse(b *testing.B) {
	for _, a := range attacks {
		for _, at := range []string{"leader", "follower"} {
			measure := func(b *testing.B, closed bool) {
				c := newCluster(b, 3, "off")
				c.fill(20_000)
				asked := c.leader()
				if at == "follower" {
					asked = (asked + 1) % len(c.members)
				}
				t := &target{Attack: a.name, API: c.members[asked].config.API.Listen, Cluster: c.members[asked].config.Cluster.Listen}
				if closed {
					t.Token = c.close()
				}
				for b.Loop() {
					c.abuse(t, asked)
				}
			}
			name := strings.ReplaceAll(a.name, " ", "-") + "/" + at
			if a.by != stranger {
				b.Run(name, func(b *testing.B) { measure(b, false) })
			}
			if a.by == stranger || a.by == limited && at == "follower" {
				b.Run(name+"-with-tokens", func(b *testing.B) { measure(b, true) })
			}
		}
	}
}

// close makes access tokens: the cluster's own, and the attacker's, which it returns.
func (c *cluster) close() (attackers string) {
	c.b.Helper()
	tokens := c.dial(client.Config{}).Tokens()
	var err error
	if c.token, _, err = tokens.Create(c.b.Context(), interrex.AccessTokenRequest{Name: "good", Operator: true}); err != nil {
		c.b.Fatal(err)
	}
	r := interrex.AccessTokenRequest{Name: "attacker"}
	for _, text := range []string{"lease:*:attack/*", "resource:*:interrex.Value/default/attack/*", "change:*:*"} {
		rule, err := interrex.ParseAccessRule(text)
		if err != nil {
			c.b.Fatal(err)
		}
		r.Rules = append(r.Rules, rule)
	}
	if attackers, _, err = c.dial(client.Config{}).Tokens().Create(c.b.Context(), r); err != nil {
		c.b.Fatal(err)
	}
	return attackers
}

// fill claims leases, so that a list is big.
func (c *cluster) fill(n int64) {
	c.b.Helper()
	cl := c.dial(client.Config{})
	var next atomic.Int64
	s := closedLoopUntil(64, func() error {
		i := next.Add(1)
		if i > n {
			return context.Canceled
		}
		_, err := cl.Leases().Claim(c.b.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "attack", Name: fmt.Sprintf("fill-%08d", i)}, Holder: holder, TTL: time.Hour})
		return err
	})
	if s != nil {
		c.b.Fatal(s)
	}
}

// closedLoopUntil lets callers work until one of them is told that it is over.
func closedLoopUntil(callers int, do func() error) (failed error) {
	var all sync.WaitGroup
	var mu sync.Mutex
	for range callers {
		all.Go(func() {
			for {
				err := do()
				if err == nil {
					continue
				}
				mu.Lock()
				defer mu.Unlock()
				if err != context.Canceled && failed == nil {
					failed = err
				}
				return
			}
		})
	}
	all.Wait()
	return failed
}

// abuse reports how the good callers fare without an attack, and during it.
func (c *cluster) abuse(t *target, asked int) {
	c.b.Helper()
	held, release := c.holds(asked)
	defer release()
	quiet := c.goodClaims(t.API, abuseQuiet)
	stop := attacker(c.b, t)
	hurt := c.goodClaims(t.API, abuseTime)
	most, lost := c.memory(asked), goodHolds-held()
	rate := stop()
	ratio := float64(hurt.P99) / float64(quiet.P99)
	progress(c.b, "%.0f/s: p99 %.1f ms, %.1f ms attacked, ratio %.1f; %d of %d failed; %d of %d holds lost; %d MiB",
		rate, ms(quiet.P99), ms(hurt.P99), ratio, hurt.failed, hurt.made, lost, goodHolds, most>>20)
	c.b.ReportMetric(0, "ns/op")
	c.b.ReportMetric(rate, "attack/s")
	c.b.ReportMetric(ms(quiet.P99), "quiet-p99-ms")
	c.b.ReportMetric(ms(hurt.P99), "p99-ms")
	c.b.ReportMetric(ratio, "ratio")
	c.b.ReportMetric(float64(hurt.failed), "failed")
	c.b.ReportMetric(float64(lost), "holds-lost")
	c.b.ReportMetric(float64(most>>20), "MiB")
}

// holds begins to hold leases through an agent; held returns how many are.
func (c *cluster) holds(at int) (held func() int, release func()) {
	c.b.Helper()
	cl := dial(c.b, client.Config{Addresses: []string{c.url(at)}, Token: c.token})
	ctx, end := context.WithCancel(c.b.Context())
	all := make([]interrex.Held, goodHolds)
	for i := range all {
		h, err := cl.Leases().Hold(ctx, numbered("hold", int64(i)).String(), interrex.HoldOptions{TTL: goodTTL})
		if err != nil {
			c.b.Fatal(err)
		}
		all[i] = h
	}
	held = func() (n int) {
		for _, h := range all {
			if h.Context().Err() == nil {
				n++
			}
		}
		return n
	}
	return held, end
}

// good is how the good callers have fared.
type good struct {
	P99          time.Duration
	made, failed int
}

// goodClaims lets JSON clients, with a connection each, claim at a fixed rate.
func (c *cluster) goodClaims(address string, d time.Duration) good {
	c.b.Helper()
	ctx, end := context.WithTimeout(c.b.Context(), d)
	defer end()
	return c.goodClaimsUntil(ctx, address)
}

// goodClaimsUntil is goodClaims until ctx ends.
func (c *cluster) goodClaimsUntil(ctx context.Context, address string) good {
	c.b.Helper()
	run, t := rand.Text(), target{API: address, Token: c.token}
	took, failed := make([][]time.Duration, goodCallers), make([]int, goodCallers)
	clients := make([]*http.Client, goodCallers)
	for i := range clients {
		clients[i] = &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: 10 * time.Second}
		defer clients[i].CloseIdleConnections()
	}
	paced(ctx, goodCallers, goodRate, func(i int) {
		key := fmt.Sprintf("bench/good-%d-%d-%s", i, len(took[i]), run)
		began := time.Now()
		status := t.post(c.b.Context(), clients[i], "LeaseService/Claim", fmt.Sprintf(`{"key":%q,"holder":"good","ttl":"60s"}`, key))
		took[i] = append(took[i], time.Since(began))
		if status != http.StatusOK {
			failed[i]++
		}
	})
	every := slices.Concat(took...)
	slices.Sort(every)
	g := good{P99: quantile(every, 0.99), made: len(every)}
	for _, n := range failed {
		g.failed += n
	}
	return g
}

// memory returns the largest resident memory that an agent's process has had.
func (c *cluster) memory(i int) int64 {
	c.b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.members[i].cmd.Process.Pid))
	if err != nil {
		c.b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		c.b.Fatal(err)
	}
	return n << 10
}
