package watch_test

import (
	"sort"
	"sync"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// history is a backlog.
type history struct {
	mu     sync.Mutex
	events []state.Event
	floor  interrex.Revision
	next   func() // happens once, just after the next read
}

func (h *history) record(from, to int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := from; i <= to; i++ {
		h.events = append(h.events, event(i))
	}
}

// forget drops what is up to a revision.
func (h *history) forget(floor interrex.Revision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.floor = floor
	h.events = h.events[h.index(floor):]
}

// index is the place of the first event behind a revision.
func (h *history) index(r interrex.Revision) int {
	return sort.Search(len(h.events), func(i int) bool { return h.events[i].Revision > r })
}

func (h *history) Behind(r interrex.Revision, most int) ([]state.Event, bool) {
	if next := h.next; next != nil {
		h.next = nil
		defer next()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r > 0 && r < h.floor {
		return nil, false
	}
	events := h.events[h.index(r):]
	return append([]state.Event{}, events[:min(most, len(events))]...), true
}

func (h *history) Floor() interrex.Revision {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.floor
}

// both records and publishes, as a state does.
func both(h *history, r *watch.Ring, from, to int) {
	h.record(from, to)
	publish(r, from, to)
}

func TestWhoIsBehindTheRingReadsTheBacklogAndComesOver(t *testing.T) {
	h := &history{}
	r := watch.New(watch.Config{MaxEvents: 64, Backlog: h})
	defer r.Close()
	both(h, r, 1, 1000)
	if first := r.Stats().First; first < 900 {
		t.Fatalf("the ring keeps what is behind %d", first)
	}
	late := open(t, r, 3, nil)
	read(t, late, 4, 1000)
	both(h, r, 1001, 1010)
	read(t, late, 1001, 1010)
	read(t, open(t, r, 0, nil), 1, 1010)
	c := cursor(t, r, 0)
	events, _, err := c.Read()
	if err != nil || events.Event(0).Revision != 1 {
		t.Fatalf("%d events, %v", events.Len(), err)
	}
	// Events of the backlog are encoded too, and count towards no limit.
	before := r.Stats().Bytes
	b, err := events.Encoded(0, 1, func(e *state.Event) ([]byte, error) { return []byte("one"), nil })
	if err != nil || string(b) != "one" || r.Stats().Bytes != before {
		t.Errorf("%s, %v, %d bytes after %d", b, err, r.Stats().Bytes, before)
	}
}

// A reader that comes over to the ring while it moves misses nothing and sees
// nothing twice.
func TestWhoComesOverToAMovingRingSeesEachEventOnce(t *testing.T) {
	const rounds, length = 1000, 60
	for round := range rounds {
		h := &history{}
		r := watch.New(watch.Config{MaxEvents: 1 + round%70, Backlog: h})
		both(h, r, 1, 5)
		since := round % 6
		var all sync.WaitGroup
		for range 2 {
			w := open(t, r, since, nil)
			all.Go(func() { read(t, w, since+1, length) })
		}
		all.Go(func() {
			for i := 6; i <= length; i++ {
				if i%20 == round%20 { // a snapshot was installed, which has the revision
					h.record(i, i)
					r.Reset(interrex.Revision(i), 0)
					continue
				}
				both(h, r, i, i)
			}
		})
		all.Wait()
		r.Close()
	}
}

// Between a look at the backlog, which has nothing, and one at the ring, more comes
// than the ring keeps.
func TestWhatComesWhileTheBacklogIsReadIsNotMissed(t *testing.T) {
	h := &history{}
	r := watch.New(watch.Config{MaxEvents: 5, Backlog: h})
	defer r.Close()
	r.Reset(20, 0) // and nothing had happened that is an event
	if events, alarm, err := cursor(t, r, 10).Read(); events.Len() != 0 || alarm == nil || err != nil {
		t.Fatalf("%d events, %v", events.Len(), err)
	}
	w := open(t, r, 10, nil)
	h.next = func() { both(h, r, 21, 40) }
	read(t, w, 21, 40)
}

func TestAResetEndsNobodyWhereThereIsABacklog(t *testing.T) {
	h := &history{}
	r := watch.New(watch.Config{Backlog: h})
	defer r.Close()
	both(h, r, 1, 10)
	w, c := open(t, r, 0, nil), cursor(t, r, 10)
	read(t, w, 1, 10)
	_, alarm, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	h.record(11, 20)
	r.Reset(20, 0)
	<-alarm
	read(t, w, 11, 20)
	if events, _, err := c.Read(); err != nil || events.Len() != 10 || events.Event(0).Revision != 11 {
		t.Errorf("%d events, %v", events.Len(), err)
	}
	both(h, r, 21, 21)
	read(t, w, 21, 21)
	fresh := cursor(t, r, 5)
	if !fresh.Beside(c) || fresh.Compare(c) >= 0 {
		t.Error("cursors before and after the reset do not stand beside each other")
	}
}

func TestARestoreEndsEveryWatchAndWhatContinuesFromBefore(t *testing.T) {
	h := &history{}
	r := watch.New(watch.Config{Backlog: h})
	defer r.Close()
	both(h, r, 1, 10)
	w, c := open(t, r, 0, nil), cursor(t, r, 10)
	read(t, w, 1, 10)
	_, alarm, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	h.record(11, 20) // as if the file had it
	r.Reset(30, 30)
	<-alarm
	_, err = w.Next(t.Context())
	wantKind(t, err, interrex.ErrWatchClosed, 30)
	_, _, err = c.Read()
	wantKind(t, err, interrex.ErrWatchClosed, 30)
	for _, since := range []interrex.Revision{1, 15, 29} {
		_, err = r.Watch(since, interest.Scope{}, nil)
		wantKind(t, err, interrex.ErrCompacted, 30)
		_, err = r.Follower(since, interest.Scope{})
		wantKind(t, err, interrex.ErrCompacted, 30)
	}
	fresh := open(t, r, 30, nil)
	read(t, open(t, r, 0, nil), 1, 20)
	both(h, r, 31, 31)
	read(t, fresh, 31, 31)
	if events, _, err := cursor(t, r, 15).Read(); err != nil || events.Event(0).Revision != 16 {
		t.Errorf("a webhook does not go on in what was restored: %v", err)
	}
	r.Reset(40, 30) // a snapshot after the restore ends nothing
	h.record(41, 41)
	read(t, fresh, 41, 41)
}

func TestBehindTheBacklogHistoryIsCompacted(t *testing.T) {
	h := &history{}
	r := watch.New(watch.Config{MaxEvents: 10, Backlog: h})
	defer r.Close()
	both(h, r, 1, 100)
	slow, c := open(t, r, 5, nil), cursor(t, r, 5)
	h.forget(50)
	_, err := slow.Next(t.Context())
	wantKind(t, err, interrex.ErrCompacted, 50)
	_, _, err = c.Read()
	wantKind(t, err, interrex.ErrCompacted, 50)
	_, err = r.Watch(49, interest.Scope{}, nil)
	wantKind(t, err, interrex.ErrCompacted, 50)
	read(t, open(t, r, 50, nil), 51, 100)
	read(t, open(t, r, 0, nil), 51, 100) // from the first that is kept

	// What the ring has still is not gone.
	h.forget(100)
	first := int(r.Stats().First)
	read(t, open(t, r, first, nil), first+1, 100)
	_, err = r.Cursor(interrex.Revision(first-1), interest.Scope{})
	wantKind(t, err, interrex.ErrCompacted, interrex.Revision(first))
}
