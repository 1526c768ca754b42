package benchmarks

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
)

// The good callers of BenchmarkAbuse.
const (
	goodCallers = 32
	goodRate    = 160 // claims of all together, a second
	goodHolds   = 16
	goodTTL     = 5 * time.Second
	abuseQuiet  = 10 * time.Second
	abuseTime   = 20 * time.Second
)

// BenchmarkAbuse measures what the good callers notice of each attack: 32 clients that
// speak JSON, and 16 holds of 5 s, of another process than the attacker's.
func BenchmarkAbuse(b *testing.B) {
	for _, a := range attacks {
		for _, at := range []string{"leader", "follower"} {
			b.Run(strings.ReplaceAll(a.name, " ", "-")+"/"+at, func(b *testing.B) {
				c := newCluster(b, 3, config.NotifyOff)
				c.fill(20_000)
				asked := c.leader()
				if at == "follower" {
					asked = (asked + 1) % len(c.members)
				}
				for b.Loop() {
					c.abuse(a, asked)
				}
			})
		}
	}
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
		_, err := cl.Leases().Claim(c.b.Context(), interrex.ClaimRequest{Key: numbered("fill", i), Holder: holder, TTL: time.Hour})
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
func (c *cluster) abuse(a attack, asked int) {
	c.b.Helper()
	held, release := c.holds(asked)
	defer release()
	address := strings.TrimPrefix(c.url(asked), "http://")
	quiet := goodClaims(c.b, address, abuseQuiet)
	stop := attacker(c.b, a, address)
	hurt := goodClaims(c.b, address, abuseTime)
	most := c.memory(asked)
	stop()
	ratio := float64(hurt.P99) / float64(quiet.P99)
	progress(c.b, "p99 %.1f ms, %.1f ms attacked; %d of %d failed; %d of %d holds lost; %d MiB", ms(quiet.P99), ms(hurt.P99), hurt.failed, hurt.made, goodHolds-held(), goodHolds, most>>20)
	c.b.ReportMetric(0, "ns/op")
	c.b.ReportMetric(ms(quiet.P99), "quiet-p99-ms")
	c.b.ReportMetric(ms(hurt.P99), "p99-ms")
	c.b.ReportMetric(ratio, "ratio")
	c.b.ReportMetric(float64(hurt.failed), "failed")
	c.b.ReportMetric(float64(goodHolds-held()), "holds-lost")
	c.b.ReportMetric(float64(most>>20), "MiB")
}

// holds begins to hold leases through an agent; held returns how many are.
func (c *cluster) holds(at int) (held func() int, release func()) {
	c.b.Helper()
	cl := dial(c.b, client.Config{Addresses: []string{c.url(at)}})
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

// goodClaims lets JSON clients, with a connection each, claim and revoke at a fixed rate.
func goodClaims(b *testing.B, address string, d time.Duration) good {
	b.Helper()
	ctx, end := context.WithTimeout(b.Context(), d)
	defer end()
	run := rand.Text()
	took, failed := make([][]time.Duration, goodCallers), make([]int, goodCallers)
	clients := make([]*http.Client, goodCallers)
	for i := range clients {
		clients[i] = &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}, Timeout: 10 * time.Second}
		defer clients[i].CloseIdleConnections()
	}
	paced(ctx, goodCallers, goodRate, func(i int) {
		key := fmt.Sprintf("bench/good-%d-%d-%s", i, len(took[i]), run)
		began := time.Now()
		status := post(b.Context(), clients[i], address, "LeaseService/Claim", fmt.Sprintf(`{"key":%q,"holder":"good","ttl":"60s"}`, key))
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

// attacker starts a process that attacks an agent.
func attacker(b *testing.B, a attack, address string) (stop func()) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env, cmd.Stderr = append(environ(), attackEnv+"="+a.name+"@"+address), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		_ = in.Close()
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			b.Errorf("the attack %q: %v", a.name, err)
		}
	}
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
