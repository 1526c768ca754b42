package change_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
)

func TestATrackerWaitsForANumberOrMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := change.NewTracker()
		tracker.Update(2)
		if got := tracker.Wait(t.Context(), 2); got != 2 {
			t.Errorf("equal: %d", got)
		}
		if got := tracker.Wait(t.Context(), 1); got != 2 {
			t.Errorf("behind: %d", got)
		}
		var mu sync.Mutex
		woken := map[interrex.Revision]interrex.Revision{}
		var all sync.WaitGroup
		for _, target := range []interrex.Revision{3, 5, 9} {
			all.Go(func() {
				got := tracker.Wait(t.Context(), target)
				mu.Lock()
				defer mu.Unlock()
				woken[target] = got
			})
		}
		synctest.Wait()
		tracker.Update(5)
		synctest.Wait()
		mu.Lock()
		if fmt.Sprint(woken) != "map[3:5 5:5]" {
			t.Errorf("woken: %v", woken)
		}
		mu.Unlock()
		tracker.Update(6)
		tracker.Update(4) // it never goes back
		if tracker.Last() != 6 {
			t.Errorf("it has gone back to %d", tracker.Last())
		}
		tracker.Close()
		tracker.Close()
		all.Wait()
		if woken[9] != 6 {
			t.Errorf("Close gave %d", woken[9])
		}
		tracker.Update(100)
		if got := tracker.Wait(t.Context(), 50); got != 6 {
			t.Errorf("after Close: %d", got)
		}
		if got := tracker.TimedWait(50, time.Hour); got != 6 {
			t.Errorf("after Close: %d", got)
		}
	})
}

func TestATimedWaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracker := change.NewTracker()
		tracker.Update(2)
		began := time.Now()
		if got := tracker.TimedWait(3, time.Second); got != 2 || time.Since(began) != time.Second {
			t.Errorf("%d after %v", got, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := tracker.Wait(ctx, 3); got != 2 {
			t.Errorf("%d", got)
		}
		time.AfterFunc(time.Second, func() { tracker.Update(7) })
		if got := tracker.TimedWait(3, time.Minute); got != 7 {
			t.Errorf("woken with %d", got)
		}
	})
}

func TestTrackersHaveNames(t *testing.T) {
	var all change.Trackers
	one, err := all.Named("a")
	if err != nil {
		t.Fatal(err)
	}
	if same, _ := all.Named("a"); same != one {
		t.Error("another one")
	}
	if other, _ := all.Named("b"); other == one {
		t.Error("the same for another name")
	}
	one.Close()
	if fresh, _ := all.Named("a"); fresh == one {
		t.Error("a closed one")
	}
	for i := range change.MaxTrackers - 2 {
		if _, err := all.Named(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := all.Named("more"); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("one more: %v", err)
	}
	b, _ := all.Named("b")
	b.Close()
	if _, err := all.Named("more"); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
}

func TestTheTrackerOfWhatIsAppliedRisesWithEveryEntry(t *testing.T) {
	w := newWorld(t)
	tracker := w.feed.Applied()
	at := w.append("1")
	if got := tracker.TimedWait(at, time.Minute); got != at {
		t.Errorf("%d, want %d", got, at)
	}
	w.feed.Close()
	if got := tracker.Wait(t.Context(), at+1); got != at {
		t.Errorf("after the end: %d", got)
	}
}
