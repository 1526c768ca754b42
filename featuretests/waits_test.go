package featuretests

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// Claims that wait through an agent do not delay other requests through it.
func TestWaitsThroughAFollowerKeepNobodyElseOut(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	leader := c.Leader()
	f := (leader + 1) % 3
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const keys, each = 17, 256
	var full atomic.Bool
	own := c.Client(leader).Leases()
	for i := range keys {
		if _, err := own.Claim(ctx, interrex.ClaimRequest{Key: interrex.Key{Namespace: "full", Name: fmt.Sprint(i)}, Holder: "h", TTL: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
	// Two clients: one has room for 4 096 of its own.
	for i := range keys {
		by := c.Client(f).Leases()
		for j := range each {
			go func() {
				_, err := by.Claim(ctx, interrex.ClaimRequest{Key: interrex.Key{Namespace: "full", Name: fmt.Sprint(i)}, Holder: fmt.Sprintf("w%d", j), TTL: time.Hour, Wait: time.Hour, RequestID: fmt.Sprintf("w-%d-%d", i, j)})
				if errors.Is(err, interrex.ErrOverloaded) {
					full.Store(true)
				}
			}()
		}
	}
	for end := time.Now().Add(patience); !full.Load() && time.Now().Before(end); {
		pause(ctx, 10*time.Millisecond)
	}
	other := c.Client(f).Leases()
	soon, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	_, err := other.Claim(soon, interrex.ClaimRequest{Key: interrex.Key{Namespace: "other", Name: "x"}, Holder: "o", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
}
