package watch_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is one event of 1 byte at a revision.
func event(r int) state.Event {
	return state.Event{Revision: interrex.Revision(r), Key: fmt.Sprint(r), Size: 1}
}

// publish publishes one entry with one event a revision.
func publish(r *watch.Ring, from, to int) {
	var events []state.Event
	for i := from; i <= to; i++ {
		events = append(events, event(i))
	}
	r.Publish(events, interrex.Revision(to))
}

func open(t *testing.T, r *watch.Ring, since int, match func(*state.Event) bool) *watch.Watcher {
	t.Helper()
	w, err := r.Watch(interrex.Revision(since), interest.Scope{}, match)
	if err != nil {
		t.Fatalf("Watch(%d): %v", since, err)
	}
	t.Cleanup(w.Close)
	return w
}

// read reads until revision to, and demands every revision from from on.
func read(t *testing.T, w *watch.Watcher, from, to int) {
	t.Helper()
	for from <= to {
		events, err := w.Next(t.Context())
		if err != nil {
			t.Fatalf("Next at %d: %v", from, err)
		}
		for _, e := range events {
			if int(e.Revision) != from {
				t.Fatalf("got revision %d, want %d", e.Revision, from)
			}
			from++
		}
	}
}

func wantKind(t *testing.T, err error, kind interrex.Kind, first interrex.Revision) {
	t.Helper()
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != kind || e.FirstRevision != first {
		t.Errorf("error = %v, want %s with first revision %d", err, kind, first)
	}
}

func TestWatchGivesWhatFollowsSince(t *testing.T) {
	r := watch.New(watch.Config{})
	publish(r, 1, 5)
	for since := range 5 {
		read(t, open(t, r, since, nil), since+1, 5)
	}
}

func TestWatchFromTheFutureWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch.New(watch.Config{})
		publish(r, 1, 5)
		w := open(t, r, 7, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go publish(r, 6, 7)
		if events, err := w.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Next = %v, %v before its time", events, err)
		}
		go publish(r, 8, 9)
		read(t, w, 8, 9)
	})
}

func TestWatchBehindWhatIsKeptIsCompactedAndSaysWhereToBegin(t *testing.T) {
	r := watch.New(watch.Config{MaxEvents: 10})
	publish(r, 1, 30)
	_, err := r.Watch(19, interest.Scope{}, nil)
	wantKind(t, err, interrex.ErrCompacted, 20)
	read(t, open(t, r, 20, nil), 21, 30)
}

func TestBytesAreLimitedToo(t *testing.T) {
	r := watch.New(watch.Config{MaxBytes: 100})
	for i := range 10 {
		e := event(i + 1)
		e.Size = 30
		r.Publish([]state.Event{e}, e.Revision)
	}
	if s := r.Stats(); s.Events != 3 || s.Bytes != 90 || s.First != 7 || s.Last != 10 {
		t.Errorf("Stats = %+v, want the newest 3 events", s)
	}
	huge := event(11)
	huge.Size = 101
	r.Publish([]state.Event{huge}, 11)
	if s := r.Stats(); s.Events != 0 || s.Bytes != 0 || s.First != 11 {
		t.Errorf("Stats = %+v: an event beyond the limit was kept", s)
	}
}

func TestOnlyTheSlowWatcherIsCompacted(t *testing.T) {
	r := watch.New(watch.Config{MaxEvents: 10})
	slow, quick := open(t, r, 0, nil), open(t, r, 0, nil)
	for i := 1; i <= 30; i++ {
		publish(r, i, i)
		read(t, quick, i, i)
	}
	_, err := slow.Next(t.Context())
	wantKind(t, err, interrex.ErrCompacted, 20)
	publish(r, 31, 31)
	read(t, quick, 31, 31)
}

func TestARevisionIsNeverSplit(t *testing.T) {
	r := watch.New(watch.Config{MaxEvents: 1 << 20})
	var events []state.Event
	for revision := range 300 {
		for range 7 {
			events = append(events, event(revision+1))
		}
	}
	r.Publish(events, 300)
	w, seen := open(t, r, 0, nil), map[interrex.Revision]int{}
	for total := 0; total < len(events); {
		batch, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		total += len(batch)
		for _, e := range batch {
			seen[e.Revision]++
		}
		if at := batch[len(batch)-1].Revision; seen[at] != 7 || w.Position() != at {
			t.Fatalf("a batch ends within revision %d (%d of 7), position %d", at, seen[at], w.Position())
		}
	}
}

func TestWhatIsKeptBeginsBetweenRevisions(t *testing.T) {
	r := watch.New(watch.Config{MaxEvents: 64}) // one event fills a segment
	for revision := 1; revision <= 40; revision++ {
		r.Publish([]state.Event{event(revision), event(revision), event(revision)}, interrex.Revision(revision))
	}
	first := int(r.Stats().First)
	events, err := open(t, r, first, nil).Next(t.Context())
	if err != nil || len(events) < 3 || int(events[0].Revision) != first+1 || events[2].Revision != events[0].Revision {
		t.Errorf("after %d: %v, %v, want all three events of %d", first, events, err, first+1)
	}
}

func TestBatchIsBounded(t *testing.T) {
	r := watch.New(watch.Config{})
	publish(r, 1, 10_000)
	events, err := open(t, r, 0, nil).Next(t.Context())
	if err != nil || len(events) > 256 {
		t.Errorf("Next gave %d events, %v", len(events), err)
	}
}

func TestOnlyWhatMatchesIsGivenAndThePositionGoesOn(t *testing.T) {
	r := watch.New(watch.Config{})
	publish(r, 1, 2000)
	w := open(t, r, 0, func(e *state.Event) bool { return e.Revision%1000 == 0 })
	for want := 1000; want <= 2000; want += 1000 {
		events, err := w.Next(t.Context())
		if err != nil || len(events) == 0 {
			t.Fatalf("Next = %v, %v", events, err)
		}
		if int(events[len(events)-1].Revision) == 2000 {
			break
		}
	}
	if w.Position() < 2000 {
		t.Errorf("Position = %d", w.Position())
	}
}

// Copies are made late; with every pattern of matches, exactly those are
// given, and what the ring keeps stays as it was.
func TestAnyPatternOfMatchesIsGivenInFull(t *testing.T) {
	const last = 12
	r := watch.New(watch.Config{})
	publish(r, 1, last)
	for pattern := range 1 << last {
		matches := func(e *state.Event) bool { return pattern>>(e.Revision-1)&1 == 1 }
		w := open(t, r, 0, matches)
		got := 0
		for got != pattern {
			events, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				got |= 1 << (e.Revision - 1)
			}
		}
		w.Close()
	}
	read(t, open(t, r, 0, nil), 1, last)
}

func TestResetEndsWatchersAndEmptiesTheRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := watch.New(watch.Config{})
		publish(r, 1, 5)
		behind, waiting := open(t, r, 0, nil), open(t, r, 500, nil)
		ended := make(chan error)
		go func() {
			_, err := waiting.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		r.Reset(100, 0)
		wantKind(t, <-ended, interrex.ErrWatchClosed, 100)
		_, err := behind.Next(t.Context())
		wantKind(t, err, interrex.ErrWatchClosed, 100)
		_, err = r.Watch(99, interest.Scope{}, nil)
		wantKind(t, err, interrex.ErrCompacted, 100)
		fresh := open(t, r, 100, nil)
		publish(r, 101, 102)
		read(t, fresh, 101, 102)
		_, err = waiting.Next(t.Context())
		wantKind(t, err, interrex.ErrWatchClosed, 100)
	})
}

func TestTooManyWatchersAreOverloaded(t *testing.T) {
	r := watch.New(watch.Config{MaxWatchers: 2})
	a := open(t, r, 0, nil)
	open(t, r, 0, nil)
	if _, err := r.Watch(0, interest.Scope{}, nil); !errors.Is(err, interrex.ErrOverloaded) {
		t.Errorf("the third watcher: %v", err)
	}
	a.Close()
	a.Close()
	open(t, r, 0, nil)
	if got := r.Stats().Watchers; got != 2 {
		t.Errorf("Watchers = %d, want 2", got)
	}
}

func TestCloseReleasesWhoWaits(t *testing.T) {
	for _, closing := range []string{"watcher", "ring"} {
		synctest.Test(t, func(t *testing.T) {
			r := watch.New(watch.Config{})
			w := open(t, r, 0, nil)
			ended := make(chan error)
			go func() {
				_, err := w.Next(t.Context())
				ended <- err
			}()
			synctest.Wait()
			if closing == "ring" {
				r.Close()
				r.Close()
				publish(r, 1, 1)
			} else {
				w.Close()
			}
			if err := <-ended; !errors.Is(err, interrex.ErrWatchClosed) {
				t.Errorf("close of the %s: %v", closing, err)
			}
			if _, err := w.Next(t.Context()); !errors.Is(err, interrex.ErrWatchClosed) {
				t.Errorf("Next again after close of the %s: %v", closing, err)
			}
		})
	}
}

func TestNextEndsWithItsContextAndCanGoOn(t *testing.T) {
	r := watch.New(watch.Config{})
	w := open(t, r, 0, nil)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := w.Next(ctx); !errors.Is(err, cause) {
		t.Errorf("Next: %v", err)
	}
	publish(r, 1, 1)
	read(t, w, 1, 1)
}

// A watcher that sleeps when something is published is woken, whatever comes between
// its look and its sleep.
func TestNoWakeIsLost(t *testing.T) {
	const watchers, last = 20, 5000
	r := watch.New(watch.Config{MaxEvents: 1 << 20})
	var all sync.WaitGroup
	for range watchers {
		w := open(t, r, 0, nil)
		all.Go(func() { read(t, w, 1, last) })
	}
	for i := 1; i <= last; i++ {
		publish(r, i, i)
	}
	all.Wait()
	r.Close()
}

func TestManyWatchersUnderResetsSeeOrderedContiguousHistory(t *testing.T) {
	r := watch.New(watch.Config{MaxEvents: 500})
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { follow(t, ctx, r) })
	}
	for i := 1; i <= 20_000; i++ {
		if i%3000 == 0 {
			r.Reset(interrex.Revision(i), 0)
			continue
		}
		publish(r, i, i)
	}
	cancel()
	all.Wait()
	if got := r.Stats().Watchers; got != 0 {
		t.Errorf("%d watchers are left", got)
	}
}

// follow begins new watches where the errors say, and requires that nothing is
// skipped in between.
func follow(t *testing.T, ctx context.Context, r *watch.Ring) {
	var at interrex.Revision
	for ctx.Err() == nil {
		w, err := r.Watch(at, interest.Scope{}, nil)
		for err == nil {
			var events []state.Event
			events, err = w.Next(ctx)
			for _, e := range events {
				if e.Revision != at+1 {
					t.Errorf("revision %d follows %d", e.Revision, at)
				}
				at = e.Revision
			}
		}
		if w != nil {
			w.Close()
		}
		var e *interrex.Error
		if errors.As(err, &e) {
			at = max(at, e.FirstRevision)
		}
	}
}
