package interrextest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

func TestNewAgentIsReady(t *testing.T) {
	a := interrextest.New(t)
	held, err := a.Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAMinorityGrantsNothingAndCatchesUp(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 5})
	lost := c.Leader()
	minority := []int{lost, (lost + 1) % 5}
	majority := []int{(lost + 2) % 5, (lost + 3) % 5, (lost + 4) % 5}
	c.Partition(minority, majority)
	key := interrex.Key{Namespace: "mine", Name: "leader"}
	won, err := c.Client(majority...).Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got, err := c.Client(minority...).Leases().Claim(ctx, interrex.ClaimRequest{Key: key, Holder: "bob", TTL: time.Hour}); err == nil {
		t.Errorf("the minority grants %+v", got)
	}
	c.Heal()
	for _, a := range c.Agents() {
		got, _, err := a.Leases().Get(t.Context(), key, interrex.ReadOptions{})
		if err != nil || got.Token != won.Lease.Token {
			t.Errorf("agent %s: %+v, %v", a.ID(), got, err)
		}
	}
}

func TestACrashLosesNothingThatWasAnswered(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	key := interrex.Key{Namespace: "mine", Name: "leader"}
	won, err := c.Client().Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		crashed := c.Leader()
		c.Crash(crashed)
		if c.Leader() == crashed {
			t.Fatalf("agent %d leads after its crash", crashed)
		}
		c.Start(crashed)
	}
	for i, a := range c.Agents() {
		got, _, err := c.Client(i).Leases().Get(t.Context(), key, interrex.ReadOptions{})
		if err != nil || got.Token != won.Lease.Token {
			t.Errorf("agent %s: %+v, %v", a.ID(), got, err)
		}
	}
}

func TestClusterOutlivesItsLeader(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	leases := c.Client().Leases()
	key := interrex.Key{Namespace: "mine", Name: "leader"}
	first, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	leader := c.Leader()
	c.Isolate(leader)
	_, err = leases.Claim(t.Context(), interrex.ClaimRequest{Key: key, Holder: "bob"})
	if !errors.Is(err, interrex.ErrHeld) {
		t.Errorf("another one's claim returns %v, want held", err)
	}
	c.Heal()
	c.Restart(leader)
	got, _, err := leases.Get(t.Context(), key, interrex.ReadOptions{})
	if err != nil || got.Token != first.Lease.Token {
		t.Errorf("the lease has token %s (%v), want %s", got.Token, err, first.Lease.Token)
	}
}
