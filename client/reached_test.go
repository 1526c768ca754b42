package client

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// aside returns a watch and its subscription at an agent, without a connection.
func aside(st *watchStream, id uint64, began bool) (*Watch[int], *subscription) {
	s := &subscription{id: id, stream: st, over: make(chan struct{})}
	w := &Watch[int]{way: s, said: map[*endpoint]error{}}
	s.to = w
	s.began.Store(began)
	st.open[id] = s
	return w, s
}

func streamAside() *watchStream {
	return &watchStream{of: &watchStreams{}, work: make(chan struct{}, 1), open: map[uint64]*subscription{}, end: func() {}}
}

func TestAWatchIsReachedWhereItSeesEverything(t *testing.T) {
	w, s := aside(streamAside(), 1, true)
	w.reached(s, 9)
	w.reached(s, 7)
	if w.since != 9 {
		t.Errorf("it resumes after %d", w.since)
	}
	w.reached(&subscription{}, 20) // one that it had before
	if w.since != 9 {
		t.Errorf("after another way's word it resumes after %d", w.since)
	}
	w.present = true
	w.reached(s, 30)
	if w.since != 9 {
		t.Errorf("amid the present leases it resumes after %d", w.since)
	}
}

func TestProgressIsOfTheWatchesThatHaveBegun(t *testing.T) {
	st := streamAside()
	want := map[uint64]interrex.Revision{1: 9, 2: 0, 3: 0, 4: 9, 5: 0}
	all := map[uint64]*Watch[int]{}
	for id := range want {
		all[id], _ = aside(st, id, id != 5)
	}
	st.progress(&interrexv1.WatchProgress{Revision: 9, Except: []uint64{3, 2}})
	for id, since := range want {
		if got := all[id].since; got != since {
			t.Errorf("watch %d resumes after %d, want %d", id, got, since)
		}
	}
}

func TestAWatchThatWasServedForgetsWhyItWasNot(t *testing.T) {
	for _, began := range []bool{true, false} {
		w, s := aside(streamAside(), 1, began)
		long := time.Now().Add(-time.Hour)
		w.lost, w.said[nil] = long, interrex.Errorf(interrex.ErrUnavailable, "gone")
		w.unsubscribe(s)
		if served := w.lost.After(long); served != began || (len(w.said) == 0) != began {
			t.Errorf("began %v: lost since %v, said %v", began, w.lost, w.said)
		}
	}
}
