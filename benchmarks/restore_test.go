package benchmarks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
)

const (
	restoredValues = 2100             // of 500 KiB: 1 GiB
	restoreSettle  = 90 * time.Second // the agents make snapshots of their own of what was filled in
	restoreQuiet   = 60 * time.Second
)

// BenchmarkRestore puts a snapshot of 1 GiB back into three agents, and measures what 32
// clients that speak JSON and 16 holds of 5 s notice of it.
func BenchmarkRestore(b *testing.B) {
	c := newCluster(b, 3, "off")
	asked := c.leader()
	file := c.saveLarge()
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		b.Fatal(err)
	}
	held, release := c.holds(asked)
	defer release()
	time.Sleep(restoreSettle)
	for b.Loop() {
		api := c.members[asked].config.API.Listen
		quiet := c.goodClaims(api, restoreQuiet)
		ctx, end := context.WithCancel(b.Context())
		meanwhile := make(chan good, 1)
		go func() { meanwhile <- c.goodClaimsUntil(ctx, api) }()
		began := time.Now()
		if _, err := file.Seek(0, 0); err != nil {
			b.Fatal(err)
		}
		_, err := c.dial(client.Config{Timeout: time.Hour}).Snapshots().Restore(b.Context(), file, nil)
		took := time.Since(began)
		end()
		hurt := <-meanwhile
		if err != nil {
			b.Fatal(err)
		}
		most, lost := int64(0), goodHolds-held()
		for i := range c.members {
			most = max(most, c.memory(i))
		}
		ratio := float64(hurt.P99) / float64(quiet.P99)
		progress(b, "%d MiB in %v: p99 %.1f ms, %.1f ms meanwhile, ratio %.1f; %d of %d failed; %d of %d holds lost; %d MiB",
			info.Size()>>20, took.Round(time.Millisecond), ms(quiet.P99), ms(hurt.P99), ratio, hurt.failed, hurt.made, lost, goodHolds, most>>20)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(ratio, "ratio")
		b.ReportMetric(float64(hurt.failed), "failed")
		b.ReportMetric(float64(lost), "holds-lost")
		b.ReportMetric(float64(most>>20), "MiB")
	}
}

// saveLarge fills the cluster with resources, and saves a snapshot.
func (c *cluster) saveLarge() *os.File {
	c.b.Helper()
	cl := c.dial(client.Config{Timeout: time.Minute})
	room := &interrexv1.SetSettingsRequest{Values: map[string]string{"resources.max-bytes": fmt.Sprint(2 << 30)}}
	if _, err := client.Call[interrexv1.SetSettingsRequest, interrexv1.SetSettingsResponse](c.b.Context(), cl, interrexv1.StateServiceSetSettingsProcedure, room, client.Options{}); err != nil {
		c.b.Fatal(err)
	}
	kv := client.KV{By: cl}
	var next atomic.Int64
	if err := closedLoopUntil(4, func() error {
		i := next.Add(1)
		if i > restoredValues {
			return context.Canceled
		}
		_, err := kv.Put(c.b.Context(), fmt.Sprintf("large/%d", i), []byte(big), "", client.Options{})
		return err
	}); err != nil {
		c.b.Fatal(err)
	}
	file, err := os.Create(filepath.Join(c.b.TempDir(), "large.snap"))
	if err != nil {
		c.b.Fatal(err)
	}
	if _, err := c.dial(client.Config{Timeout: time.Hour}).Snapshots().Save(c.b.Context(), file, interrex.ReadOptions{}); err != nil {
		c.b.Fatal(err)
	}
	if err := file.Sync(); err != nil { // not while claims are measured
		c.b.Fatal(err)
	}
	return file
}
