package change

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/waitlist"
	"github.com/interrex/interrex/state"
)

func TestWhoGivesUpLeavesNothingBehind(t *testing.T) {
	tracker := NewTracker()
	var all []*waitlist.Waiter
	for _, target := range []interrex.Revision{5, 3, 4} { // each turns the heap round
		me, _ := tracker.join(target)
		all = append(all, me)
	}
	tracker.leave(all[0])
	tracker.Update(4)
	if len(all[1].Done) != 1 || len(all[2].Done) != 1 || tracker.list.Len() != 0 {
		t.Errorf("%d and %d are told, %d are left", len(all[1].Done), len(all[2].Done), tracker.list.Len())
	}

	f := New()
	for _, q := range []Query{{Tags: []string{"a", "b"}}, {Kinds: []string{"k"}, Prefix: "ns/"}, {}} {
		w, err := f.await(&q)
		if err != nil {
			t.Fatal(err)
		}
		f.forget(w)
		f.forget(w)
	}
	if w := &f.waiting; !w.waiters.Empty() || w.count != 0 {
		t.Errorf("%d wait: %+v", w.count, w.waiters.All())
	}
}

func TestNobodyWaitsForWhatIsThere(t *testing.T) {
	f := New()
	f.keep.count = 2
	for at := interrex.Revision(1); at <= 5; at++ {
		put(f, at, state.Event{Kind: "k"})
	}
	for name, q := range map[string]Query{
		"what is gone": {Since: 1, Kinds: []string{"none"}},
		"what matches": {Since: 3, Kinds: []string{"k"}},
	} {
		if w, err := f.await(&q); w != nil || err != nil {
			t.Errorf("%s is waited for: %v, %v", name, w, err)
		}
	}
}
