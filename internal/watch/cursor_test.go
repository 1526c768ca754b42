package watch_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

func cursor(t *testing.T, r *watch.Ring, since int) *watch.Cursor {
	t.Helper()
	c, err := r.Cursor(interrex.Revision(since), interest.Scope{})
	if err != nil {
		t.Fatalf("Cursor(%d): %v", since, err)
	}
	t.Cleanup(c.Close)
	return c
}

func rung(alarm <-chan struct{}) bool {
	select {
	case <-alarm:
		return true
	default:
		return false
	}
}

func TestACursorReadsWithoutMoving(t *testing.T) {
	r := watch.New(watch.Config{})
	publish(r, 1, 5)
	c := cursor(t, r, 2)
	for range 2 {
		events, _, err := c.Read()
		if err != nil || events.Len() != 3 || events.Event(0).Revision != 3 {
			t.Fatalf("Read = %d events, %v", events.Len(), err)
		}
	}
	c.Move(5)
	if events, _, err := c.Read(); err != nil || events.Len() != 0 || c.Position() != 5 {
		t.Errorf("Read = %d events, %v, at %d", events.Len(), err, c.Position())
	}
}

func TestTheAlarmOfACursorRingsWhenThereIsNews(t *testing.T) {
	r := watch.New(watch.Config{})
	c := cursor(t, r, 0)
	_, alarm, err := c.Read()
	if err != nil || rung(alarm) {
		t.Fatalf("the alarm rings for nothing: %v", err)
	}
	publish(r, 1, 1)
	<-alarm
	if events, _, err := c.Read(); err != nil || events.Len() != 1 {
		t.Errorf("Read = %d events, %v", events.Len(), err)
	}
	c.Move(1)
	_, alarm, _ = c.Read()
	r.Reset(10, 0)
	<-alarm
	_, _, err = c.Read()
	wantKind(t, err, interrex.ErrWatchClosed, 10)
}

func TestACursorIsCountedAndEndsAsAWatcherDoes(t *testing.T) {
	r := watch.New(watch.Config{MaxWatchers: 2, MaxEvents: 10})
	slow := cursor(t, r, 0)
	old := cursor(t, r, 0)
	if _, err := r.Cursor(0, interest.Scope{}); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("the third: %v", err)
	}
	publish(r, 1, 30)
	_, _, err := slow.Read()
	wantKind(t, err, interrex.ErrCompacted, 20)
	slow.Close()
	slow.Close()
	if n := r.Stats().Watchers; n != 1 {
		t.Errorf("%d watchers are counted", n)
	}
	if _, _, err := slow.Read(); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("after its Close: %v", err)
	}
	_, err = r.Cursor(19, interest.Scope{})
	wantKind(t, err, interrex.ErrCompacted, 20)
	fresh := cursor(t, r, 20)
	if fresh.Compare(old) <= 0 || !fresh.Beside(old) {
		t.Error("a later position does not come later")
	}
	fresh.Close()
	r.Reset(30, 0)
	fresh = cursor(t, r, 30)
	old.Move(100) // of another history, it comes before all the same
	if fresh.Compare(old) <= 0 || fresh.Beside(old) {
		t.Error("a cursor of another history stands beside")
	}
	r.Close()
	if _, _, err := fresh.Read(); !errors.Is(err, interrex.ErrWatchClosed) {
		t.Errorf("after the ring's Close: %v", err)
	}
}

func TestAnEventIsEncodedOnceForAll(t *testing.T) {
	r := watch.New(watch.Config{})
	publish(r, 1, 100)
	var encodings atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c, err := r.Cursor(0, interest.Scope{})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			events, _, err := c.Read()
			if err != nil || events.Len() != 100 {
				t.Errorf("Read = %d events, %v", events.Len(), err)
			}
			for i := range events.Len() {
				b, err := events.Encoded(i, 1, func(e *state.Event) ([]byte, error) {
					encodings.Add(1)
					return []byte(e.Key), nil
				})
				if err != nil || string(b) != events.Event(i).Key {
					t.Errorf("event %s is encoded as %s, %v", events.Event(i).Key, b, err)
				}
			}
		})
	}
	all.Wait()
	if n := encodings.Load(); n != 100 {
		t.Errorf("100 events were encoded %d times", n)
	}
}

func TestEachMethodEncodesAnEventItsOwnWay(t *testing.T) {
	r := watch.New(watch.Config{})
	publish(r, 1, 1)
	events, _, err := cursor(t, r, 0).Read()
	if err != nil {
		t.Fatal(err)
	}
	before, encodings := r.Stats().Bytes, 0
	for range 2 {
		for method, want := range map[uint32]string{1: "one", 2: "two"} {
			b, err := events.Encoded(0, method, func(*state.Event) ([]byte, error) { encodings++; return []byte(want), nil })
			if err != nil || string(b) != want {
				t.Errorf("method %d gets %s, %v", method, b, err)
			}
		}
	}
	if got := r.Stats().Bytes - before; encodings != 2 || got != 6 {
		t.Errorf("it was encoded %d times, and %d bytes count to the ring", encodings, got)
	}
}

func TestWhatEventsAreEncodedAsCountsToTheRing(t *testing.T) {
	r := watch.New(watch.Config{MaxBytes: 100})
	for i := 1; i <= 6; i++ {
		publish(r, i, i) // of 1 byte
	}
	events, _, err := cursor(t, r, 0).Read()
	if err != nil {
		t.Fatal(err)
	}
	c := cursor(t, r, 0)
	for at, i := 0, 0; at < 6; at, i = at+1, i+1 {
		if i == events.Len() { // a run ends where a segment does
			c.Move(interrex.Revision(at))
			events, _, _ = c.Read()
			i = 0
		}
		if _, err := events.Encoded(i, 1, func(*state.Event) ([]byte, error) { return make([]byte, 30), nil }); err != nil {
			t.Fatal(err)
		}
	}
	if s := r.Stats(); s.Bytes > 100 || s.Events != 3 || s.First != 3 {
		t.Errorf("Stats = %+v, want the newest three events of 31 bytes", s)
	}
	// What is gone already counts no more.
	before := r.Stats()
	old, _, _ := cursor(t, r, 3).Read()
	r.Reset(6, 0)
	if _, err := old.Encoded(0, 1, func(*state.Event) ([]byte, error) { return make([]byte, 30), nil }); err != nil {
		t.Fatal(err)
	}
	if s := r.Stats(); s.Bytes != 0 {
		t.Errorf("Stats = %+v, before the reset %+v", s, before)
	}
}

// A watcher whose scope no event is in is not woken, and resumes where history was when
// it was asked, however much of it the ring has dropped meanwhile.
func TestAWatcherSleepsThroughWhatIsOutsideItsScope(t *testing.T) {
	r := watch.New(watch.Config{MaxEvents: 100})
	defer r.Close()
	shown := 0
	w, err := r.Watch(0, interest.Scope{Table: 1, Prefix: "mine/"}, func(e *state.Event) bool {
		shown++
		return e.Key == "mine/one"
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	got := make(chan []state.Event, 1)
	asleep := make(chan struct{})
	go func() {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.Next(ctx); err == nil { // it has read everything
			t.Error("there is something")
		}
		close(asleep)
		events, err := w.Next(t.Context())
		if err != nil {
			t.Error(err)
		}
		got <- events
	}()
	<-asleep
	publish := func(table state.TableID, key string, at interrex.Revision) {
		r.Publish([]state.Event{{Revision: at, Table: table, Key: key, Size: 1}}, at)
	}
	for at := interrex.Revision(1); at <= 5000; at++ {
		publish(1, "other/one", at)
	}
	publish(2, "mine/one", 5001)
	publish(1, "mine/one", 5002)
	if events := <-got; len(events) != 1 || events[0].Revision != 5002 || shown != 1 {
		t.Errorf("it gets %v, after it was shown %d events", events, shown)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = w.Next(ctx) // which ends it
	publish(1, "other/one", 6000)
	if at := w.Position(); at != 6000 {
		t.Errorf("it is at %d", at)
	}
}

// A reader that waits has read up to the moment when a snapshot replaces history.
func TestASleeperIsNotBehindASnapshot(t *testing.T) {
	kept := &history{floor: 900}
	r := watch.New(watch.Config{Backlog: kept})
	defer r.Close()
	c, err := r.Cursor(900, interest.Scope{Table: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.Read(); err != nil {
		t.Fatal(err)
	}
	r.Publish([]state.Event{{Revision: 2000, Table: 2, Size: 1}}, 2000)
	kept.forget(1500)
	r.Reset(3000, 0)
	if e, _, err := c.Read(); err != nil || e.Len() != 0 || c.Position() < 2000 {
		t.Errorf("it reads %d events at %d, %v", e.Len(), c.Position(), err)
	}
}
