package featuretests

import (
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// handover is how long a cluster may be without an answer when its leader is
// stopped gracefully.
const handover = 300 * time.Millisecond

func TestLeaderThatIsDrainedHandsOverAtOnce(t *testing.T) {
	f := newFleet(t, 3, nil)
	leases := f.client().Leases()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	// A slow machine makes some of the waits longer: three of up to twenty count. An
	// election without a transfer takes longer each time.
	var gaps []time.Duration
	for prompt := 0; prompt < 3; {
		if len(gaps) == 20 {
			t.Fatalf("%d of 20 handovers took at most %s, want 3: %s", prompt, handover, gaps)
		}
		leader := f.leader()
		rest := f.client(f.others(leader)...).Leases()
		extend := func() {
			if _, err := rest.Extend(t.Context(), interrex.ExtendRequest{Key: key("app/db"), Token: won.Lease.Token}); err != nil {
				t.Errorf("an extend during the handover: %v", err)
			}
		}
		extend()
		f.signal(leader, syscall.SIGTERM)
		gap := longest(f.members[leader].gone, extend)
		if gaps = append(gaps, gap); gap <= handover {
			prompt++
		}
		if code := f.exit(leader); code != 0 {
			t.Errorf("the drained agent ended with exit code %d, want 0", code)
		}
		f.start(leader)
		f.answers(leader)
	}
	t.Logf("the longest waits for an answer were %s", gaps)
}

// longest repeats a call until done is closed, and returns the duration of the
// slowest.
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
