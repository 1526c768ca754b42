package featuretests

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// handover is how long a cluster may be without an answer when its leader is
// stopped politely: the median of a few times.
const handover = 300 * time.Millisecond

func TestLeaderThatIsDrainedHandsOverAtOnce(t *testing.T) {
	f := newFleet(t, 3, nil)
	leases := f.client().Leases()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var gaps []time.Duration
	for range 3 {
		leader := f.leader()
		rest := f.client(f.others(leader)...).Leases()
		extend := func() {
			if _, err := rest.Extend(t.Context(), interrex.ExtendRequest{Key: key("app/db"), Token: won.Lease.Token}); err != nil {
				t.Errorf("an extend during the handover: %v", err)
			}
		}
		extend()
		f.signal(leader, syscall.SIGTERM)
		gaps = append(gaps, longest(f.members[leader].gone, extend))
		if code := f.exit(leader); code != 0 {
			t.Errorf("the drained agent ended with exit code %d, want 0", code)
		}
		f.start(leader)
		f.answers(leader)
	}
	slices.Sort(gaps)
	t.Logf("the longest waits for an answer were %s", gaps)
	if median := gaps[len(gaps)/2]; median > handover {
		t.Errorf("in the median %s passed without an answer, want %s at most", median, handover)
	}
}

// longest repeats a call until done is closed, and gives how long the slowest
// took.
func longest(done <-chan struct{}, call func()) time.Duration {
	var most time.Duration
	for {
		began := time.Now()
		call()
		most = max(most, time.Since(began))
		select {
		case <-done:
			return most
		case <-time.After(time.Millisecond):
		}
	}
}
