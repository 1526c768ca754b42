package apiserver

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/callstream"
)

// The cost of a request to one agent with a log in memory.
func BenchmarkStreamExtend(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) { benchmarkStream(b, callers) })
	}
}

func benchmarkStream(b *testing.B, callers int) {
	nd := cluster(b, 1)[0]
	token := nd.claimed("bench/lease", "ann")
	s, err := callstream.New(callstream.Config{HTTP: nd.http, BaseURL: nd.url})
	nd.must(err)
	defer func() { _ = s.Close() }()
	var failed atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(callers/2 + 1)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := s.Call(b.Context(), op(0, interrexv1.LeaseServiceExtendProcedure, &interrexv1.ExtendRequest{Key: "bench/lease", Token: token}))
			if err != nil {
				failed.Add(1)
			}
		}
	})
	b.StopTimer()
	if n := failed.Load(); n > 0 {
		b.Errorf("%d of %d failed", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}
