package featuretests

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

func TestOneAgentBootsLeadsAndApplies(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 1})
	if c.Leader() != 0 {
		t.Error("the agent does not lead")
	}
	leases := c.Agent(0).Leases()
	before, _, err := leases.Get(t.Context(), key("app/db"), interrex.ReadOptions{})
	if interrex.KindOf(err) != interrex.ErrNotFound {
		t.Errorf("a name that nobody claimed returns %+v, %v", before, err)
	}
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "bob"}); interrex.KindOf(err) != interrex.ErrHeld {
		t.Errorf("a second holder's claim returns %v, want held", err)
	}

	c.Restart(0)
	after, _, err := leases.Get(t.Context(), key("app/db"), interrex.ReadOptions{})
	if err != nil || after.Token != won.Lease.Token || after.Holder != "ann" {
		t.Errorf("after a restart there is %+v (%v), want ann's lease under token %s", after, err, won.Lease.Token)
	}
}
