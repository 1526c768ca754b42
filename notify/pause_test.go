package notify_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/notify"
)

// told returns how often the target was called.
func (f *fixture) told() (calls int) {
	synctest.Wait()
	f.target.set(func(t *target) { calls = t.calls })
	return calls
}

func TestWhatHappensAfterARestIsToldAtOnce(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		for i := range 3 {
			before := f.told()
			f.world.claim(fmt.Sprint("k", i), "kay")
			if n := f.told() - before; n != 1 {
				t.Errorf("the target was called %d times, want once", n)
			}
			f.settle(notify.DefaultPause)
		}
	})
}

func TestWhatHappensWithinAPauseIsToldTogether(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.world.ring = watch.New(watch.Config{}) // a small one gives what stands at its end by itself
		f.start()
		f.world.claim("first", "ann")
		before := f.told()
		for i := range 5 {
			f.settle(time.Millisecond)
			f.world.claim(fmt.Sprint("k", i), "kay")
		}
		if n := f.told() - before; n != 0 {
			t.Errorf("the target was called %d times within the pause", n)
		}
		f.settle(notify.DefaultPause)
		if n := f.told() - before; n != 1 {
			t.Errorf("the target was called %d times after the pause, want once", n)
		}
		f.wantInStep()
	})
}

func TestWhatWaitsIsToldTogether(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.world.ring = watch.New(watch.Config{})
		f.start()
		f.world.claim("first", "ann")
		synctest.Wait()
		for i := range 20_000 { // more than one telling holds
			f.world.claim(fmt.Sprint("k", i%300), "kay")
		}
		before := f.told()
		f.settle(2 * notify.DefaultPause)
		if n := f.told() - before; n != 2 {
			t.Errorf("the target was called %d times, want twice", n)
		}
		f.wantInStep()
	})
}

// A slow target is notified less often, and never takes more than a
// twentieth of it.
func TestTheRateFallsUnderLoad(t *testing.T) {
	for _, c := range []struct{ takes, rests time.Duration }{
		{time.Millisecond, notify.DefaultPause}, {100 * time.Millisecond, 1900 * time.Millisecond}, {10 * time.Second, 20 * time.Second},
	} {
		bubble(t, func(f *fixture) {
			f.world.ring = watch.New(watch.Config{})
			f.start()
			f.settle(time.Minute)
			f.target.set(func(t *target) { t.takes = c.takes })
			before := f.told()
			f.world.claim("a", "ann")
			synctest.Wait()
			f.world.claim("b", "bob")
			f.settle(c.takes + c.rests - time.Microsecond)
			if n := f.told() - before; n != 1 {
				t.Errorf("taking %v, the target was called %d times before %v were over", c.takes, n, c.rests)
			}
			f.settle(time.Microsecond)
			if n := f.told() - before; n != 2 {
				t.Errorf("taking %v, the target was called %d times after %v", c.takes, n, c.rests)
			}
			f.settle(c.takes)
			f.wantInStep()
		})
	}
}

// Under load the target is always late by some revisions: that alone is no harm.
func TestProgressSaysSinceWhenTheTargetIsLate(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.world.ring = watch.New(watch.Config{})
		f.start()
		f.target.set(func(t *target) { t.takes = time.Second })
		f.settle(time.Hour)
		began := time.Now()
		f.world.claim("a", "ann")
		f.settle(500 * time.Millisecond)
		if p := f.worker.Progress(); p.Lag != 1 || !p.Fresh.Equal(began) {
			t.Errorf("while it is told: %+v, began %v", p, began)
		}
		f.world.claim("b", "bob")
		f.settle(time.Second)
		if p := f.worker.Progress(); p.Lag != 1 || !p.Fresh.Equal(began) {
			t.Errorf("while it rests: %+v, began %v", p, began)
		}
		f.settle(20 * time.Second)
		if p := f.worker.Progress(); p.Lag != 0 || !p.Fresh.Equal(began.Add(20*time.Second)) {
			t.Errorf("when it was told: %+v, began %v", p, began)
		}
	})
}

// A target that cannot follow is compared, and not all the time.
func TestAComparisonIsFollowedByARest(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.start()
		f.settle(time.Minute)
		f.target.set(func(t *target) { t.takes = time.Second })
		end := time.Now().Add(2 * time.Minute)
		for i := 0; time.Now().Before(end); i++ {
			f.world.claim(fmt.Sprint("k", i%30), "kay")
			f.settle(10 * time.Millisecond) // the ring keeps 8
		}
		f.settle(0)
		var mended int
		f.target.set(func(t *target) { mended = t.mended })
		if mended < 3 || mended > 6 {
			t.Errorf("compared %d times within two minutes, want one in twenty seconds", mended)
		}
		f.settle(20 * time.Second)
		f.wantInStep()
	})
}

func TestAWorkerThatWaitsForItsClusterIsNotLate(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.world.cluster = ""
		f.start()
		f.settle(time.Hour)
		if p := f.worker.Progress(); p.Lag != 0 {
			t.Fatalf("before there is a cluster: %+v", p)
		}
		began := time.Now()
		f.world.mu.Lock()
		f.world.cluster = "one"
		f.world.mu.Unlock()
		f.world.claim("a", "ann")
		if p := f.worker.Progress(); p.Lag > 0 && p.Fresh.Before(began) {
			t.Errorf("at the first claim it is late since %s, the claim was made at %s", p.Fresh, began)
		}
	})
}
