package benchmarks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex/client"
)

// A slice of BenchmarkProjection is long enough for an agent to update its table many
// times.
const (
	projectionCallers = 256
	projectionSlice   = 2 * time.Second
)

// spent is the cost of claims in a cluster.
type spent struct {
	claims  int64
	elapsed time.Duration // without the tables' time afterwards
	cpu     time.Duration // of all agents
	written int64         // bytes that they wrote
}

// BenchmarkProjection measures claims, alternating between three agents that each keep
// a table of holders in SQLite and three that keep none. What a table still has to do
// after a slice counts towards it, and is finished before the others' turn.
func BenchmarkProjection(b *testing.B) {
	rivals := []*cluster{newCluster(b, 3, "off"), newCluster(b, 3, "sqlite")}
	var claim [2]func(int) error
	var idle [2]float64 // processor seconds per second
	for i, c := range rivals {
		used := c.used()
		time.Sleep(projectionSlice) // what is measured: idle agents
		idle[i] = (c.used() - used).Seconds() / projectionSlice.Seconds()
		claim[i] = claims(client.Config{})(b, c, projectionCallers)
		c.spend(projectionSlice/4, 0, claim[i])
	}
	var ratio, cpu, disk []float64
	for b.Loop() {
		for round := range rounds {
			var pair [2]spent
			for turn := range rivals {
				who := (round + turn) % 2 // neither is always first
				pair[who] = rivals[who].spend(projectionSlice, idle[who], claim[who])
			}
			off, on := pair[0], pair[1]
			progress(b, "%.0f/s of %.0f/s; %.1f and %.1f µs of the agents' processors, %.0f and %.0f B each",
				on.rate(), off.rate(), on.each(on.cpu.Seconds()*1e6), off.each(off.cpu.Seconds()*1e6),
				on.each(float64(on.written)), off.each(float64(off.written)))
			ratio = append(ratio, on.rate()/off.rate())
			cpu = append(cpu, on.each(on.cpu.Seconds()*1e6)-off.each(off.cpu.Seconds()*1e6))
			disk = append(disk, on.each(float64(on.written))-off.each(float64(off.written)))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(median(cpu), "more-cpu-us/op")
	b.ReportMetric(median(disk)/float64(len(rivals[1].members)), "more-B/op/agent")
}

func (s spent) rate() float64              { return float64(s.claims) / s.elapsed.Seconds() }
func (s spent) each(total float64) float64 { return total / float64(s.claims) }

// spend loads the cluster for a time, and waits until its tables have caught up; the
// idle cost of that wait is not counted.
func (c *cluster) spend(d time.Duration, idle float64, do func(caller int) error) (s spent) {
	c.b.Helper()
	cpu, written := c.used(), c.written()
	var done atomic.Int64
	began := time.Now()
	sample := closedLoop(projectionCallers, d, func(caller int) error {
		defer done.Add(1)
		return do(caller)
	})
	s.elapsed, s.claims = time.Since(began), done.Load()
	if sample.Err != "" {
		c.b.Fatal(sample.Err)
	}
	for i := range c.members {
		eventually(c.b, fmt.Sprintf("the table of agent %d is in step", i), func() error {
			time.Sleep(projectionSlice / 4) // a response costs the agent as much as many claims
			return c.inStep(i)
		})
	}
	waited := time.Since(began) - s.elapsed
	s.cpu, s.written = c.used()-cpu-time.Duration(idle*float64(waited)), c.written()-written
	return s
}

func (c *cluster) inStep(i int) error {
	answer, err := http.Get(c.url(i) + "/metrics")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && bytes.Contains(text, []byte("\ninterrex_projection_lag_revisions ")) &&
		!bytes.Contains(text, []byte("\ninterrex_projection_lag_revisions 0\n")) {
		err = errors.New("it lags")
	}
	return err
}

// written returns how many bytes the agents wrote to their disks, by /proc/PID/io.
func (c *cluster) written() (all int64) {
	c.b.Helper()
	for _, m := range c.members {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", m.cmd.Process.Pid))
		if err != nil {
			c.b.Fatal(err)
		}
		_, rest, _ := bytes.Cut(text, []byte("\nwrite_bytes: "))
		number, _, _ := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil {
			c.b.Fatal(err)
		}
		all += n
	}
	return all
}
