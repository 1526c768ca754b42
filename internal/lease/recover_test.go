package lease_test

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
)

// A recovery ends all leases, pinned and overdue ones too, and nothing is granted
// for as long as a holder that is known may go on.
func TestARecoveryEndsEveryLeaseAndPauses(t *testing.T) {
	for _, test := range []struct {
		ttl, extended, later, pause time.Duration
	}{
		{time.Second, 0, 0, 30 * time.Second},
		{2 * time.Minute, 0, 0, 2 * time.Minute},
		{2 * time.Minute, 0, time.Minute, 2 * time.Minute},
		{time.Second, 0, time.Hour, 30 * time.Second}, // overdue, and held by a pin
		{time.Second, time.Hour, time.Minute, 59 * time.Minute},
	} {
		w := newWorld(t)
		w.run((&lease.Claim{Key: key("db"), Holder: "ann", TTL: test.ttl}).Append(nil))
		w.run((&lease.Extend{Key: key("db"), Token: 1, TTL: test.extended}).Append(nil))
		w.run((&lease.Pin{Key: key("db"), Owner: "ops"}).Append(nil))
		w.run((&lease.Claim{Key: key("api"), Holder: "bob", TTL: time.Second}).Append(nil))
		w.now = w.now.Add(test.later)
		w.events = nil
		w.recover()
		if w.table.Count() != 0 || len(w.events) != 2 || w.events[0].Kind != interrex.LeaseForced || w.events[0].Revision+1 != w.events[1].Revision {
			t.Errorf("%d leases are left; events %+v", w.table.Count(), w.events)
		}
		end := w.now.Add(test.pause)
		if got := w.table.Paused(); got != end {
			t.Errorf("%+v: the pause ends at %v, want %v", test, got, end)
		}
		w.restart()
		if _, err := w.do(&lease.Extend{Key: key("db"), Token: 1}); interrex.KindOf(err) != interrex.ErrNotHeld {
			t.Errorf("an extend of what has ended: %v", err)
		}
		w.now = end - 1
		refused(t, w, time.Nanosecond)
		w.now = end
		if reply, err := w.do(&lease.Claim{Key: key("db"), Holder: "ann", TTL: time.Second}); err != nil || reply.Lease.Token == 1 {
			t.Errorf("after the pause: %+v, %v", reply, err)
		}
	}
}

func refused(t *testing.T, w *world, left time.Duration) {
	t.Helper()
	for _, takeover := range []bool{false, true} {
		_, err := w.do(&lease.Claim{Key: key("db"), Holder: "ann", TTL: time.Second, Takeover: takeover})
		if e, is := err.(*interrex.Error); !is || e.Kind != interrex.ErrUnavailable || e.RetryAfter != left {
			t.Errorf("a claim in the pause: %v", err)
		}
	}
	if free, until := w.table.Free(key("db"), w.now); free || until != w.table.Paused() {
		t.Errorf("a waiter is told %v, %v", free, until)
	}
}

func TestAPauseIsNeverShortened(t *testing.T) {
	w := newWorld(t)
	w.run((&lease.Claim{Key: key("db"), Holder: "ann", TTL: time.Hour}).Append(nil))
	w.recover()
	w.now = w.now.Add(time.Minute)
	w.recover()
	if got := w.table.Paused(); got != state.Time(time.Hour) {
		t.Errorf("it ends at %v", got)
	}
}
