package featuretests

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

func TestLeaseAndTokenSurviveTheLeadersDeath(t *testing.T) {
	f := newFleet(t, 3, nil)
	leases := f.client().Leases()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	leader := f.leader()
	l := startLoad(t, f.client(), f.client(f.others(leader)...))
	pause(t.Context(), time.Second)
	f.kill(leader)
	killed := time.Now()
	survivor := f.client(f.others(leader)...).Leases()
	if _, err := survivor.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/other"), Holder: "bob"}); err != nil {
		t.Fatal(err)
	}
	t.Logf("the first claim after the leader's death was answered after %s", time.Since(killed).Round(time.Millisecond))

	got, _, err := survivor.Get(t.Context(), key("app/db"), interrex.ReadOptions{})
	if err != nil || got.Token != won.Lease.Token || got.Holder != "ann" {
		t.Errorf("there is %+v (%v), want ann's lease under token %s", got, err, won.Lease.Token)
	}
	if _, err := survivor.Extend(t.Context(), interrex.ExtendRequest{Key: key("app/db"), Token: won.Lease.Token}); err != nil {
		t.Errorf("the lease's token does not extend it: %v", err)
	}
	if _, err := survivor.Revoke(t.Context(), interrex.RevokeRequest{Key: key("app/db"), Token: won.Lease.Token}); err != nil {
		t.Errorf("the lease's token does not revoke it: %v", err)
	}
	next, err := survivor.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "bob"})
	if err != nil || next.Lease.Token <= won.Lease.Token {
		t.Errorf("the next claim returns token %s (%v), want one above %s", next.Lease.Token, err, won.Lease.Token)
	}
	f.start(leader)
	f.answers(leader)
	pause(t.Context(), time.Second)
	l.check(t, 500)
}

// A leader that is paused for twice the ttl is replaced. When it continues, it still
// believes that it leads: it must neither end a lease that was extended meanwhile
// nor answer a strong read from its old state.
func TestLeaderThatStoodStillEndsNothingAndReadsNothingStale(t *testing.T) {
	f := newFleet(t, 3, nil)
	const ttl = 3 * time.Second
	leader := f.leader()
	rest := f.client(f.others(leader)...).Leases()
	won, err := rest.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	extended := make(chan error, 1)
	go func() { extended <- keepExtending(t, rest, won.Lease, 3*ttl) }()
	l := startLoad(t, f.client(leader), f.client(f.others(leader)...))

	old, err := rest.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/web"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	f.signal(leader, syscall.SIGSTOP)
	if _, err := rest.Revoke(t.Context(), interrex.RevokeRequest{Key: old.Lease.Key, Token: old.Lease.Token}); err != nil {
		t.Fatal(err)
	}
	pause(t.Context(), ttl)
	reads := make(chan error, 50)
	paused := f.client(leader).Leases()
	for range cap(reads) {
		go func() { reads <- gone(t, paused, old.Lease) }()
	}
	pause(t.Context(), ttl)
	f.signal(leader, syscall.SIGCONT)
	for range cap(reads) {
		if err := <-reads; err != nil {
			t.Error(err)
		}
	}
	pause(t.Context(), ttl)
	if err := <-extended; err != nil {
		t.Errorf("the lease was extended all the time, and was lost: %v", err)
	}
	l.check(t, 500)
	if again := f.leader(f.others(leader)...); again == leader {
		t.Error("the leader that stood still leads still")
	}
}

// gone returns what is wrong with a strong read of a lease that was revoked before.
func gone(t *testing.T, leases interrex.Leases, l interrex.Lease) error {
	got, _, err := leases.Get(t.Context(), l.Key, interrex.ReadOptions{Consistency: interrex.Strong})
	if err == nil {
		return fmt.Errorf("a strong read that began after the lease was revoked sees it, under token %s", got.Token)
	}
	return nil
}

// keepExtending extends a lease every quarter of its ttl.
func keepExtending(t *testing.T, leases interrex.Leases, l interrex.Lease, long time.Duration) error {
	for end := time.Now().Add(long); time.Now().Before(end); pause(t.Context(), l.TTL/4) {
		if _, err := leases.Extend(t.Context(), interrex.ExtendRequest{Key: l.Key, Token: l.Token}); errors.Is(err, interrex.ErrNotHeld) {
			return err
		}
	}
	return nil
}

func TestAllComeBackFromDisk(t *testing.T) {
	f := newFleet(t, 3, nil)
	leases := f.client().Leases()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	l := startLoad(t, f.client())
	pause(t.Context(), time.Second)
	for i := range f.members {
		f.signal(i, syscall.SIGKILL)
	}
	for i := range f.members {
		f.exit(i)
		f.start(i)
	}
	got, _, err := leases.Get(t.Context(), key("app/db"), interrex.ReadOptions{})
	if err != nil || got.Token != won.Lease.Token {
		t.Errorf("there is %+v (%v), want ann's lease under token %s", got, err, won.Lease.Token)
	}
	pause(t.Context(), time.Second)
	l.check(t, 200)
}

// An agent whose directory was wiped has forgotten its votes: its cluster refuses
// it with a reason, and continues without it.
func TestWipedFollowerIsRefusedInWords(t *testing.T) {
	f := newFleet(t, 3, nil)
	leader := f.leader()
	wiped := f.others(leader)[0]
	f.kill(wiped)
	if err := os.RemoveAll(f.members[wiped].config.Agent.DataDir); err != nil {
		t.Fatal(err)
	}
	f.start(wiped)
	f.logged(wiped, "has a different disk from the member of that name")
	leases := f.client(f.others(wiped)...).Leases()
	if _, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann"}); err != nil {
		t.Errorf("the others do not go on: %v", err)
	}
	if s, err := f.status(wiped); err == nil && s.Ready {
		t.Errorf("the wiped agent is ready: it is a %s of term %d", s.State, s.Term)
	}
}
