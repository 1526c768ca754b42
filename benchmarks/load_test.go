package benchmarks

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// slice is how long one rival works before the other's turn, and rounds is how many
// turns each has.
const (
	slice  = 500 * time.Millisecond
	rounds = 5
)

// Sample is the result of one slice of closed-loop load.
type Sample struct {
	PerSecond float64
	P50, P99  time.Duration
	Err       string // why the load was aborted; "": it was not
}

// closedLoop lets a number of callers make one operation after the other for a time.
// An operation that was begun in time counts, and so does its duration.
func closedLoop(callers int, d time.Duration, do func(caller int) error) Sample {
	took := make([][]time.Duration, callers)
	failed := make([]error, callers)
	start := time.Now()
	end := start.Add(d)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for now := time.Now(); now.Before(end) && failed[c] == nil; {
				failed[c] = do(c)
				done := time.Now()
				took[c] = append(took[c], done.Sub(now))
				now = done
			}
		})
	}
	all.Wait()
	elapsed := time.Since(start)
	var s Sample
	for _, err := range failed {
		if err != nil {
			s.Err = err.Error()
		}
	}
	every := slices.Concat(took...)
	slices.Sort(every)
	s.PerSecond = float64(len(every)) / elapsed.Seconds()
	s.P50, s.P99 = quantile(every, 0.50), quantile(every, 0.99)
	return s
}

// quantile returns a quantile of sorted values; 0 of none.
func quantile[T any](sorted []T, q float64) (v T) {
	if len(sorted) == 0 {
		return v
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func median[T int | float64 | time.Duration](of []T) T {
	sorted := slices.Clone(of)
	slices.Sort(sorted)
	return quantile(sorted, 0.5)
}

// load is a rival: it works for a slice.
type load func(d time.Duration) Sample

// compare lets raw raft and a rival work in turns, and reports medians: of the rival's
// slices, of raft's, and of the ratios of adjacent slices.
func compare(b *testing.B, raw, rival load) {
	b.Helper()
	var ops, p50, p99, rawOps, rawP50, ratio, latency []float64
	raw(slice / 2)
	rival(slice / 2) // warm up both
	for b.Loop() {
		for round := range rounds {
			pair := [2]Sample{}
			for turn := range 2 {
				who := (round + turn) % 2 // neither is always first
				pair[who] = [2]load{raw, rival}[who](slice)
				if err := pair[who].Err; err != "" {
					b.Fatal(err)
				}
			}
			r, s := pair[0], pair[1]
			progress(b, "%.0f/s p50 %.2f ms p99 %.2f ms, raft %.0f/s p50 %.2f ms, ratio %.2f",
				s.PerSecond, ms(s.P50), ms(s.P99), r.PerSecond, ms(r.P50), s.PerSecond/r.PerSecond)
			ops, p50, p99 = append(ops, s.PerSecond), append(p50, ms(s.P50)), append(p99, ms(s.P99))
			rawOps, rawP50 = append(rawOps, r.PerSecond), append(rawP50, ms(r.P50))
			ratio, latency = append(ratio, s.PerSecond/r.PerSecond), append(latency, ms(s.P50)/ms(r.P50))
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ops), "ops/s")
	b.ReportMetric(median(p50), "p50-ms")
	b.ReportMetric(median(p99), "p99-ms")
	b.ReportMetric(median(rawOps), "raft-ops/s")
	b.ReportMetric(median(rawP50), "raft-p50-ms")
	b.ReportMetric(median(ratio), "ratio")
	b.ReportMetric(median(latency), "latency-ratio")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
