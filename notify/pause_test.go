package notify_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex/notify"
	"github.com/interrex/interrex/watch"
)

// told gives how often the target was called.
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

func TestAfterALargeBatchThereIsNoPause(t *testing.T) {
	bubble(t, func(f *fixture) {
		f.world.ring = watch.New(watch.Config{})
		f.start()
		f.world.claim("first", "ann")
		synctest.Wait()
		for i := range 300 { // more than one batch holds
			f.world.claim(fmt.Sprint("k", i), "kay")
		}
		before := f.told()
		f.settle(notify.DefaultPause)
		if n := f.told() - before; n != 2 {
			t.Errorf("the target was called %d times, want twice", n)
		}
		f.wantInStep()
	})
}
