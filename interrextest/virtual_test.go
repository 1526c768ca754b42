package interrextest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/juju/loggo"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/interrextest"
)

// virtual runs a test on a cluster of three on virtual time. The agents log only
// errors: an hour of a cut logs a lot.
func virtual(t *testing.T, test func(t *testing.T, c *interrextest.Cluster)) {
	real := time.Now()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		test(t, interrextest.StartCluster(t, interrextest.ClusterConfig{
			Virtual: true, Configure: func(_ int, c *agent.Config) { c.Logger = loggo.NewContext(loggo.CRITICAL) },
		}))
		t.Logf("%s of virtual time", time.Since(start).Round(time.Second))
	})
	t.Logf("%s of real time", time.Since(real).Round(time.Millisecond))
}

var shared = interrex.Key{Namespace: "mine", Name: "leader"}

func TestALeaseIsHeldAndLostOnVirtualTime(t *testing.T) {
	virtual(t, func(t *testing.T, c *interrextest.Cluster) {
		leader := c.Leader()
		holder := (leader + 1) % 3
		held, err := c.Agent(holder).Leases().Hold(t.Context(), shared.String(), interrex.HoldOptions{TTL: 5 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(8 * time.Minute)
		if err := held.Context().Err(); err != nil {
			t.Fatalf("it is lost, though it is extended: %v", err)
		}
		cut := time.Now()
		c.Isolate(holder)
		<-held.Context().Done()
		if took := time.Since(cut); took > 5*time.Minute {
			t.Errorf("its holder, which is cut off, lost it after %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		next, err := c.Agent(leader).Leases().Hold(ctx, shared.String(), interrex.HoldOptions{TTL: time.Minute, Wait: 10 * time.Minute})
		if err != nil || next.Token() <= held.Token() {
			t.Fatal(next, err)
		}
		if took := time.Since(cut); took > 6*time.Minute {
			t.Errorf("another one has it after %s", took)
		}
		c.Heal()
		if err := next.Release(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestACrashAndARestartOnVirtualTime(t *testing.T) {
	virtual(t, func(t *testing.T, c *interrextest.Cluster) {
		cl := c.Client()
		claim := interrex.ClaimRequest{Key: shared, Holder: "me", TTL: 10 * time.Minute}
		first, err := cl.Leases().Claim(t.Context(), claim)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			crashed := c.Leader()
			c.Crash(crashed)
			began := time.Now()
			c.Leader()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the next leader came after %s", took)
			}
			c.Start(crashed)
			c.Restart((crashed + 1) % 3)
		}
		lease, _, err := cl.Leases().Get(t.Context(), shared, interrex.ReadOptions{})
		if err != nil || lease.Token != first.Lease.Token {
			t.Errorf("%+v, %v", lease, err)
		}
		time.Sleep(11 * time.Minute)
		second, err := cl.Leases().Claim(t.Context(), claim)
		if err != nil || second.Lease.Token <= first.Lease.Token {
			t.Errorf("%+v, %v", second, err)
		}
	})
}

func TestAPartitionOnVirtualTime(t *testing.T) {
	virtual(t, func(t *testing.T, c *interrextest.Cluster) {
		old := c.Leader()
		others := []int{(old + 1) % 3, (old + 2) % 3}
		c.Partition([]int{old}, others)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Client(old).Leases().Claim(ctx, interrex.ClaimRequest{Key: shared, Holder: "minority", TTL: time.Minute}); err == nil {
			t.Error("the minority grants")
		}
		got, err := c.Client(others...).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: shared, Holder: "majority", TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		c.Heal()
		if _, err := c.Client(old).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: shared, Holder: "minority", TTL: time.Minute}); !errors.Is(err, interrex.ErrHeld) {
			t.Errorf("after the partition: %v, and %+v holds it", err, got.Lease)
		}
	})
}
