package interrextest_test

import (
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

func TestClusterOutlivesItsLeader(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
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
		t.Errorf("another one's claim gives %v, want held", err)
	}
	c.Heal()
	c.Restart(leader)
	got, _, err := leases.Get(t.Context(), key, interrex.ReadOptions{})
	if err != nil || got.Token != first.Lease.Token {
		t.Errorf("the lease has token %s (%v), want %s", got.Token, err, first.Lease.Token)
	}
}
