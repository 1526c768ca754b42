package watches

import (
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// waiters are the watches of an audience that have credit and have read the ring to its
// end. One front reads for all of them, and an event is shown only to those whose scope
// covers it.
type waiters struct {
	front *watch.Front
	index interest.Index[*watched]
	shown uint64 // number of events
}

// read returns events after the position of a watch; if there are none, it waits here
// from now on.
func (s *waiters) read(w *watched) (watch.Entries, error) {
	events, err := s.front.Join(w.cursor)
	if err == nil && events.Len() == 0 {
		w.waits, w.joined, w.queued = s.index.Add(w.scope, w), w.cursor.Position(), false
	}
	return events, err
}

// leave removes a watch, whose position is that of the last event that it was sent.
func (s *waiters) leave(w *watched) {
	if w.waits == nil {
		return
	}
	s.front.Leave(w.cursor)
	s.index.Remove(w.waits)
	w.waits = nil
}

// takers appends the watches that want an event to all.
func (s *waiters) takers(all []*watched, e *state.Event) []*watched {
	s.shown++
	s.index.Each(watch.Mark(e), func(w *watched) {
		if w.shown == s.shown { // it waits for several of its tags
			return
		}
		if w.shown = s.shown; w.takeWaiting(e) {
			all = append(all, w)
		}
	})
	return all
}
