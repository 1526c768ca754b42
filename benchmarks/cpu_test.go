package benchmarks

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// The load of BenchmarkCPU: a slice is long enough that a tick of the agents' clocks,
// ticksPerSecond, does not matter.
const (
	cpuCallers = 256
	cpuWarm    = time.Second
	cpuSlice   = 3 * time.Second
)

// cost is an operation whose processor time is measured. begin makes the operation of
// one caller after the other.
type cost struct {
	name  string
	begin func(b *testing.B, leases interrex.Leases) func(caller int) error
}

// The costs. Each claim is for a new name; each extend and read is of the caller's
// own lease.
var costs = []cost{
	{"claim", func(b *testing.B, leases interrex.Leases) func(int) error {
		next := newNames(b)
		return func(int) error {
			_, err := leases.Claim(b.Context(), interrex.ClaimRequest{Key: next(), Holder: holder, TTL: ttl})
			return err
		}
	}},
	{"extend", func(b *testing.B, leases interrex.Leases) func(int) error {
		mine := claimed(b, leases)
		return func(caller int) error {
			_, err := leases.Extend(b.Context(), interrex.ExtendRequest{Key: mine[caller].Key, Token: mine[caller].Token})
			return err
		}
	}},
	{"read-unsaid", gets(interrex.Default)},
	{"read-strong", gets(interrex.Strong)},
}

// BenchmarkCPU measures the processor time of an operation, user and system: of three
// agents together, and of the one client that all callers share, which is this
// process. Each point has its own agents, so that it can be run separately. It uses
// only public API, so this file compiles, and can be compared, before and after a
// change. Compare two runs in yards: see yardstick.
func BenchmarkCPU(b *testing.B) {
	for _, op := range costs {
		for _, at := range []string{"leader", "follower"} {
			b.Run(op.name+"/"+at, func(b *testing.B) {
				c := newCluster(b, 3, "off")
				leader := c.leader()
				asked := leader
				if at == "follower" {
					asked = (leader + 1) % len(c.members)
				}
				cl := dial(b, client.Config{Addresses: []string{c.url(asked)}})
				c.cost(op.begin(b, cl.Leases()))
				if now := c.leader(); now != leader {
					b.Fatalf("agent %d leads in the place of agent %d: measure again", now, leader)
				}
			})
		}
	}
}

// cost reports the processor time of an operation while all callers make it.
func (c *cluster) cost(do func(caller int) error) {
	c.b.Helper()
	var done atomic.Int64
	counted := func(caller int) error {
		defer done.Add(1)
		return do(caller)
	}
	if s := closedLoop(cpuCallers, cpuWarm, counted); s.Err != "" {
		c.b.Fatal(s.Err)
	}
	for c.b.Loop() {
		done.Store(0)
		agents, self := c.used(), usedBy(c.b, syscall.RUSAGE_SELF)
		yard := beginYardstick(c.b)
		s := closedLoop(cpuCallers, cpuSlice, counted)
		yards := yard.end()
		if s.Err != "" {
			c.b.Fatal(s.Err)
		}
		agents, self = c.used()-agents, usedBy(c.b, syscall.RUSAGE_SELF)-self-yards
		each := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(done.Load()) }
		progress(c.b, "%.0f/s, %.1f µs of a processor each: agents %.1f, client %.1f; a yard is %.0f µs",
			s.PerSecond, each(agents+self), each(agents), each(self), yard.us())
		c.b.ReportMetric(each(agents+self), "cpu-us/op")
		c.b.ReportMetric(each(agents), "agents-cpu-us/op")
		c.b.ReportMetric(each(self), "client-cpu-us/op")
		c.b.ReportMetric(s.PerSecond, "ops/s")
		c.b.ReportMetric(yard.us(), "yard-us")
		c.b.ReportMetric(each(agents+self)/yard.us()*1e3, "cpu-milliyards/op")
	}
	c.b.ReportMetric(0, "ns/op")
}

// usedBy returns the processor time of this process, or of this thread. A running
// thread's counts up to its last wait, or the last tick.
func usedBy(b *testing.B, who int) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		b.Error(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// claimed claims a lease for each caller.
func claimed(b *testing.B, leases interrex.Leases) []interrex.Lease {
	b.Helper()
	next := newNames(b)
	all := make([]interrex.Lease, cpuCallers)
	for i := range all {
		a, err := leases.Claim(b.Context(), interrex.ClaimRequest{Key: next(), Holder: holder, TTL: ttl})
		if err != nil {
			b.Fatal(err)
		}
		all[i] = a.Lease
	}
	return all
}

func gets(how interrex.Consistency) func(*testing.B, interrex.Leases) func(int) error {
	return func(b *testing.B, leases interrex.Leases) func(int) error {
		mine := claimed(b, leases)
		return func(caller int) error {
			_, _, err := leases.Get(b.Context(), mine[caller].Key, interrex.ReadOptions{Consistency: how})
			return err
		}
	}
}

// yardstick is a fixed piece of work, a yard, that is done from time to time during a
// measurement. The speed of a rented machine's processors varies by a third and more:
// the time of a yard shows how fast they were.
type yardstick struct {
	b     *testing.B
	stop  chan struct{}
	over  chan struct{}
	yards int
	took  time.Duration
}

func beginYardstick(b *testing.B) *yardstick {
	y := &yardstick{b: b, stop: make(chan struct{}), over: make(chan struct{})}
	go y.run()
	return y
}

func (y *yardstick) run() {
	defer close(y.over)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	numbers, source := make([]uint64, 4096), rand.NewPCG(1, 2)
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	before := usedBy(y.b, syscall.RUSAGE_THREAD) // not for each yard: see usedBy
	for {
		select {
		case <-y.stop:
			y.took = usedBy(y.b, syscall.RUSAGE_THREAD) - before
			return
		case <-pause.C:
		}
		for i := range numbers { // different ones each time, because of branch prediction
			numbers[i] = source.Uint64()
		}
		slices.Sort(numbers)
		y.yards++
	}
}

// end returns the total time of all yards.
func (y *yardstick) end() time.Duration {
	close(y.stop)
	<-y.over
	return y.took
}

// us returns the time of a yard, in microseconds.
func (y *yardstick) us() float64 { return y.took.Seconds() * 1e6 / float64(max(y.yards, 1)) }
