package featuretests

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// A lease that can run out asks for a stamp within seconds; an idle cluster in
// which none can writes nothing at all.
func TestIdleClusterWritesNothing(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	leader := c.Agent(c.Leader())
	index := func() uint64 { return leader.Status().Log.CommitIndex }
	const idle = 4 * time.Second

	before := index()
	pause(t.Context(), idle)
	if after := index(); after != before {
		t.Errorf("without a lease, the log went from %d to %d", before, after)
	}

	leases := leader.Leases()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	before = index()
	pause(t.Context(), idle)
	if after := index(); after == before {
		t.Errorf("with a lease that can run out, the log stayed at %d: no stamp was written", before)
	}
	pin := interrex.PinRequest{Key: won.Lease.Key, Owner: "ops", Reason: "a test"}
	if _, err := leases.Pin(t.Context(), pin); err != nil {
		t.Fatal(err)
	}
	before = index()
	pause(t.Context(), idle)
	if after := index(); after != before {
		t.Errorf("with a pinned lease, the log went from %d to %d", before, after)
	}
}
