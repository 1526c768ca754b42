package watch_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// observed runs observers over a ring within a bubble.
func observed(t *testing.T, test func(r *watch.Ring, s *watch.Observers)) {
	synctest.Test(t, func(t *testing.T) {
		r, s := watch.New(watch.Config{MaxEvents: 1000}), &watch.Observers{}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Run(ctx, r, func(e *state.Event) any { return e.Value }) }()
		synctest.Wait()
		test(r, s)
		cancel()
		<-done
		if n := r.Stats().Watchers; n != 0 {
			t.Errorf("%d watchers are left", n)
		}
		r.Close()
	})
}

// received empties a channel.
func received(c chan watch.Observation) (got []interrex.Revision) {
	synctest.Wait()
	for len(c) > 0 {
		got = append(got, (<-c).Revision)
	}
	return got
}

func TestAnObserverSeesEveryChangeOnce(t *testing.T) {
	observed(t, func(r *watch.Ring, s *watch.Observers) {
		publish(r, 1, 5) // before it came
		all, even := make(chan watch.Observation, 100), make(chan watch.Observation, 100)
		one := watch.NewObserver(all, nil)
		s.Register(one)
		s.Register(one)
		s.Register(nil)
		two := watch.NewObserver(even, func(o *watch.Observation) bool { return o.Revision%2 == 0 })
		s.Register(two)
		synctest.Wait()
		publish(r, 6, 9)
		if got := received(all); len(got) != 4 || got[0] != 6 || got[3] != 9 {
			t.Errorf("all: %v", got)
		}
		if got := received(even); len(got) != 2 || got[0] != 6 {
			t.Errorf("even: %v", got)
		}
		if one.ID() == two.ID() {
			t.Error("they have one ID")
		}
		s.Unregister(one)
		s.Unregister(one)
		s.Unregister(watch.NewObserver(nil, nil))
		publish(r, 10, 10)
		if got := received(all); len(got) != 0 {
			t.Errorf("after its end: %v", got)
		}
		if got := received(even); len(got) != 1 {
			t.Errorf("the other one: %v", got)
		}
		s.Unregister(two)
		publish(r, 11, 11)
		synctest.Wait()
		s.Register(one)
		synctest.Wait()
		publish(r, 12, 12)
		if got := received(all); len(got) != 1 || got[0] != 12 {
			t.Errorf("registered again: %v", got)
		}
	})
}

func TestAFullChannelLosesWhatIsCounted(t *testing.T) {
	observed(t, func(r *watch.Ring, s *watch.Observers) {
		narrow, wide := make(chan watch.Observation, 2), make(chan watch.Observation, 100)
		one, two := watch.NewObserver(narrow, nil), watch.NewObserver(wide, nil)
		s.Register(one)
		s.Register(two)
		hook := watch.NewObserver(nil, func(*watch.Observation) bool { return true })
		s.Register(hook) // it has no channel that could be full
		synctest.Wait()
		publish(r, 1, 10)
		if got := received(narrow); len(got) != 2 || one.Dropped() != 8 || two.Dropped() != 0 || s.Dropped() != 8 {
			t.Errorf("%v, %d and %d of %d are lost", got, one.Dropped(), two.Dropped(), s.Dropped())
		}
		if got := received(wide); len(got) != 10 {
			t.Errorf("the other: %v", got)
		}
	})
}

func TestAFilterAloneIsAHookAndMayRegister(t *testing.T) {
	observed(t, func(r *watch.Ring, s *watch.Observers) {
		seen, late := 0, make(chan watch.Observation, 10)
		var hook *watch.Observer
		hook = watch.NewObserver(nil, func(*watch.Observation) bool {
			seen++
			s.Register(watch.NewObserver(late, nil))
			s.Unregister(hook)
			return true
		})
		s.Register(hook)
		synctest.Wait()
		publish(r, 1, 3)
		if got := received(late); seen != 1 || len(got) != 2 {
			t.Errorf("the hook saw %d, what it registered %v", seen, got)
		}
		if hook.Dropped() != 0 {
			t.Errorf("a hook has lost %d", hook.Dropped())
		}
	})
}

func TestAFilterMayEndItsObserver(t *testing.T) {
	observed(t, func(r *watch.Ring, s *watch.Observers) {
		to, other := make(chan watch.Observation, 10), make(chan watch.Observation, 10)
		var once *watch.Observer
		once = watch.NewObserver(to, func(*watch.Observation) bool { s.Unregister(once); return true })
		s.Register(once)
		s.Register(watch.NewObserver(other, nil))
		synctest.Wait()
		publish(r, 1, 3)
		if got := received(to); len(got) != 0 {
			t.Errorf("after its end it is sent %v", got)
		}
		if got := received(other); len(got) != 3 {
			t.Errorf("the other one is sent %v", got)
		}
	})
}

// Only observers lose what a filter delays.
func TestASlowFilterHoldsUpNobody(t *testing.T) {
	observed(t, func(r *watch.Ring, s *watch.Observers) {
		held, to := make(chan struct{}), make(chan watch.Observation, 10_000)
		one := watch.NewObserver(to, func(*watch.Observation) bool { <-held; return true })
		s.Register(one)
		synctest.Wait()
		publish(r, 1, 1)
		synctest.Wait()
		publish(r, 2, 5000)
		close(held)
		got := received(to)
		if uint64(len(got))+one.Dropped() != 5000 || one.Dropped() == 0 || s.Dropped() != one.Dropped() {
			t.Errorf("%d are seen, %d and %d lost", len(got), one.Dropped(), s.Dropped())
		}
		r.Reset(6000, 0)
		synctest.Wait()
		r.Publish([]state.Event{{Revision: 6001}}, 6001)
		if got := received(to); len(got) != 1 || got[0] != 6001 {
			t.Errorf("after a snapshot: %v", got)
		}
	})
}

func TestWhatIsNotInTheRingIsShownInOrder(t *testing.T) {
	observed(t, func(_ *watch.Ring, s *watch.Observers) {
		s.Publish(state.Event{Kind: "early"}) // there is no observer
		to := make(chan watch.Observation, 10)
		one := watch.NewObserver(to, nil)
		s.Register(one)
		s.Publish(state.Event{Kind: "a"})
		s.Publish(state.Event{Kind: "b"})
		synctest.Wait()
		if len(to) != 2 || (<-to).Kind != "a" || (<-to).Kind != "b" {
			t.Error("other events are shown")
		}
		s.Unregister(one)
		s.Publish(state.Event{Kind: "late"})
		synctest.Wait()
		if len(to) != 0 || one.Dropped() != 0 {
			t.Error("one that is unregistered sees or loses an event")
		}
	})
}

func TestWhatIsPublishedAfterTheRunIsShownByAFlush(t *testing.T) {
	var s watch.Observers
	to := make(chan watch.Observation, 10)
	s.Register(watch.NewObserver(to, nil))
	s.Publish(state.Event{Kind: "shutdown"})
	s.Flush()
	s.Flush()
	if len(to) != 1 || (<-to).Kind != "shutdown" {
		t.Error("not exactly that is shown")
	}
}

func TestWhoPublishesNeverWaits(t *testing.T) {
	observed(t, func(r *watch.Ring, s *watch.Observers) {
		held, to := make(chan struct{}), make(chan watch.Observation, 10_000)
		one := watch.NewObserver(to, func(*watch.Observation) bool { <-held; return true })
		s.Register(one)
		synctest.Wait()
		for range 5000 {
			s.Publish(state.Event{Kind: "raft"})
		}
		publish(r, 1, 5)
		synctest.Wait()
		close(held)
		synctest.Wait()
		if uint64(len(to))+one.Dropped() != 5005 || one.Dropped() == 0 || len(to) < 1000 {
			t.Errorf("%d are shown, %d lost", len(to), one.Dropped())
		}
	})
}

// A filter need not lock: it is not called twice at once.
func TestFiltersAreCalledOneAtATime(t *testing.T) {
	observed(t, func(r *watch.Ring, s *watch.Observers) {
		running, most, calls := 0, 0, 0
		s.Register(watch.NewObserver(nil, func(*watch.Observation) bool {
			running++
			most = max(most, running)
			time.Sleep(time.Second)
			running--
			calls++
			return true
		}))
		synctest.Wait()
		publish(r, 1, 10)
		for range 10 {
			s.Publish(state.Event{Kind: "raft"})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if most != 1 || calls != 20 {
			t.Errorf("%d calls, %d at once", calls, most)
		}
	})
}
