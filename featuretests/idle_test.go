package featuretests

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// A lease that can expire needs a stamp within seconds; an idle cluster without one
// writes nothing at all.
func TestIdleClusterWritesNothing(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	undisturbed(t, c, func(leader, _ int) error {
		a := c.Agent(leader)
		index := func() uint64 { return a.Status().Log.CommitIndex }
		quiet := func(when string) error {
			const idle = 4 * time.Second
			before := index()
			pause(t.Context(), idle)
			if after := index(); after != before {
				return fmt.Errorf("%s, the log went from %d to %d", when, before, after)
			}
			return nil
		}
		if err := quiet("without a lease"); err != nil {
			return err
		}
		leases := a.Leases()
		won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: 20 * time.Second})
		if err != nil {
			return err
		}
		before := index()
		eventually(t, "a stamp is written for a lease that can run out", func() error {
			if index() == before {
				return errors.New("the log stays")
			}
			return nil
		})
		if _, err := leases.Pin(t.Context(), interrex.PinRequest{Key: won.Lease.Key, Owner: "ops", Reason: "a test"}); err != nil {
			return err
		}
		err = quiet("with a pinned lease")
		return errors.Join(err, unclaim(t, leases, won.Lease))
	})
}

// unclaim releases a lease that the operators pinned.
func unclaim(t *testing.T, leases interrex.Leases, l interrex.Lease) error {
	_, err := leases.Unpin(t.Context(), interrex.PinRequest{Key: l.Key, Owner: "ops"})
	if err == nil {
		_, err = leases.Revoke(t.Context(), interrex.RevokeRequest{Key: l.Key, Token: l.Token})
	}
	return err
}
