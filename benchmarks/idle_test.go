package benchmarks

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// idleFor is how long idle agents are measured.
const idleFor = 10 * time.Second

// ticksPerSecond is the unit of the times in /proc/PID/stat, fixed on Linux
// (USER_HZ).
const ticksPerSecond = 100

// BenchmarkIdle measures the processor time of three idle agents together, and by how
// many entries their log grows.
func BenchmarkIdle(b *testing.B) {
	c := newCluster(b, 3, "sqlite")
	for b.Loop() {
		time.Sleep(time.Second) // after the work of the start
		entries, used := c.logged(), c.used()
		time.Sleep(idleFor) // what is measured
		b.ReportMetric(100*(c.used()-used).Seconds()/idleFor.Seconds(), "%cpu")
		b.ReportMetric(float64(c.logged()-entries), "entries")
	}
	b.ReportMetric(0, "ns/op")
}

// logged returns the index of the last committed entry.
func (c *cluster) logged() uint64 {
	c.b.Helper()
	s, err := c.status(c.leader())
	if err != nil {
		c.b.Fatal(err)
	}
	return s.CommitIndex
}

// used returns the processor time of all members.
func (c *cluster) used() (all time.Duration) {
	c.b.Helper()
	for _, m := range c.members {
		ticks, err := processorTicks(m.cmd.Process.Pid)
		if err != nil {
			c.b.Fatal(err)
		}
		all += time.Duration(ticks) * time.Second / ticksPerSecond
	}
	return all
}

// processorTicks returns the user and system time of a process: fields 14 and 15 of
// its stat, the 12th and 13th after the name in parentheses.
func processorTicks(pid int) (ticks int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q is too short", pid, text)
	}
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks, nil
}
