package lease_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/lease"
)

func TestHistoryOfTheOldestKeyGoesWhenThereAreTooMany(t *testing.T) {
	const most = 65_536
	w := newWorld(t)
	past := func(i int) int { return len(w.table.History(key(fmt.Sprint("k", i)))) }
	end := func(i int) {
		k := key(fmt.Sprint("k", i))
		w.run((&lease.Claim{Key: k, Holder: "ann", TTL: time.Second}).Append(nil))
		w.run((&lease.Revoke{Key: k, Force: true}).Append(nil))
	}
	for i := range most {
		end(i)
	}
	if past(0) != 1 || past(most-1) != 1 {
		t.Fatalf("with %d keys one is missing already", most)
	}
	end(0) // now 1 ended longest ago
	w.restart()
	end(most)
	if past(0) != 2 || past(1) != 0 || past(2) != 1 || past(most) != 1 {
		t.Errorf("lines of keys 0, 1, 2 and the last: %d, %d, %d, %d, want 2, 0, 1, 1", past(0), past(1), past(2), past(most))
	}
}

func TestOneTurnForgetsAFewKeysOnly(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.run((&lease.Claim{Key: key(fmt.Sprint("k", i)), Holder: "ann", TTL: time.Second}).Append(nil))
		w.run((&lease.Revoke{Key: key(fmt.Sprint("k", i)), Force: true}).Append(nil))
	}
	left := func() (n int) {
		for i := range 100 {
			n += len(w.table.History(key(fmt.Sprint("k", i))))
		}
		return n
	}
	w.now = w.now.Add(24 * time.Hour)
	for _, want := range []int{100, 36, 0} {
		if got := left(); got != want {
			t.Errorf("%d keys are left, want %d", got, want)
		}
		w.tick(1)
	}
}

// A list and the revision beside it are one moment: a watch since that
// revision gets every later change and none that is in the list.
func TestReadSeesOneMoment(t *testing.T) {
	w := newWorld(t)
	w.run((&lease.Claim{Key: key("a"), Holder: "ann", TTL: time.Second}).Append(nil))
	done := make(chan struct{})
	w.table.Read(func(v lease.ReadView) {
		started := make(chan struct{})
		go func() {
			defer close(done)
			close(started)
			w.table.Lock()
			defer w.table.Unlock()
			w.run((&lease.Claim{Key: key("b"), Holder: "bob", TTL: time.Second}).Append(nil))
		}()
		<-started
		items, _ := v.List(lease.Scope{}, 10)
		_, there := v.Get(key("b"))
		if len(items) != 1 || there || len(v.History(key("a"))) != 1 {
			t.Errorf("the table has moved under a reader: %v, %v", items, there)
		}
	})
	<-done
	if w.table.Count() != 2 {
		t.Error("the change that waited was lost")
	}
}
