package api

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/watch"
)

// Parts of a message, so that no watch fills it while others wait.
const (
	maxPresent = 256 // leases read at once under the table's lock
	maxRead    = 256 // events looked at for watches at the same position
)

// message is one message that is being made.
type message struct {
	interrexv1.StreamServiceWatchResponse
	events, bytes int
}

func (m *message) empty() bool {
	return len(m.Opened)+len(m.Refused)+len(m.Events)+len(m.Ended) == 0 && m.Progress == nil
}

func (m *message) full() bool { return m.events >= MaxWatchEvents || m.bytes >= MaxWatchBytes }

// add adds an event for the watches with these ids. It copies the ids.
func (m *message) add(ids []uint64, event []byte) {
	m.events++
	m.bytes += len(event)
	if n := len(m.Events); n > 0 && slices.Equal(m.Events[n-1].Ids, ids) {
		m.Events[n-1].Events = append(m.Events[n-1].Events, event)
		return
	}
	m.bytes += 3 * len(ids) // few have more than three bytes
	m.Events = append(m.Events, &interrexv1.WatchEvents{Ids: slices.Clone(ids), Events: [][]byte{event}})
}

// gather fills a message. When there is nothing more to send it says so, and
// returns a channel that is closed when there may be (nil: only more credit
// helps).
func (a *audience) gather(out *message) (alarm <-chan struct{}, idle bool) {
	a.show(out)
	published := a.server.config.Ring.Stats().Last
	if alarm, idle = a.run(out); idle {
		a.progress(published, out)
	}
	return alarm, idle && len(a.showing) == 0
}

// A message of progress is sent after so many revisions, which are far less than
// what a ring keeps, so that a watch that matches nothing does not lose its
// place; or, when there are fewer, with the first event after so much time.
const (
	progressEvery = 4096
	progressAfter = 10 * time.Second
)

// progress says that the running watches have come as far as a revision.
func (a *audience) progress(to interrex.Revision, out *message) {
	now := a.server.config.Clock.Now()
	soon := to > a.told && now.Sub(a.toldAt) >= progressAfter
	if to < a.told+progressEvery && !soon || len(a.running) == 0 {
		return
	}
	a.told, a.toldAt = to, now
	out.Progress = &interrexv1.WatchProgress{Revision: uint64(to)}
	for id, w := range a.open {
		if !w.runs() {
			out.Progress.Except = append(out.Progress.Except, id)
		}
	}
}

// show sends the next part of its snapshot to each watch that is still
// receiving one, up to half a message; then it is the others' turn.
func (a *audience) show(out *message) {
	for range len(a.showing) {
		most := room{events: min(maxPresent, MaxWatchEvents/2-out.events), bytes: MaxWatchBytes/2 - out.bytes}
		if most.events <= 0 || most.bytes <= 0 {
			return
		}
		w := a.showing[0]
		a.showing = a.showing[1:]
		w.lined = false
		if w.shows() {
			a.showPart(w, most, out)
		}
		a.line(w)
	}
}

func (a *audience) showPart(w *watched, most room, out *message) {
	events, err := a.next(w, most)
	for _, e := range events {
		out.add([]uint64{w.id}, e)
	}
	if err != nil {
		a.end(w, err, out)
	}
}

// next returns the next part of a watch's snapshot. A panic there ends this watch
// only: the stream may have many.
func (a *audience) next(w *watched, most room) (events [][]byte, err error) {
	defer a.server.guard(w.method.Number, &err)
	return w.next(most)
}

// run sends what the ring has. Watches are served in the order of their
// positions, and go on together from where they meet.
func (a *audience) run(out *message) (alarm <-chan struct{}, idle bool) {
	a.tidy()
	first := a.first()
	idle = first == 0
	for at := first; at < len(a.running); {
		if out.full() {
			return nil, false
		}
		w := a.running[at]
		events, news, err := w.cursor.Read()
		switch {
		case err != nil:
			a.end(w, err, out)
			at++
		case events.Len() == 0:
			alarm = cmp.Or(alarm, news) // the first: it misses nothing
			at = a.beside(at)
		default:
			idle = false
			at = a.serve(at, events, out)
			a.partway, a.behind = true, w.cursor.Position()
		}
	}
	a.partway = false
	return alarm, idle
}

// first returns the index of the watch whose turn it is.
func (a *audience) first() int {
	if !a.partway {
		return 0
	}
	return sort.Search(len(a.running), func(i int) bool { return a.running[i].cursor.Position() > a.behind })
}

// tidy removes the watches that cannot go on from running, and sorts the
// others, which then stay in order while they advance.
func (a *audience) tidy() {
	if !a.untidy {
		return
	}
	a.untidy = false
	a.running = slices.DeleteFunc(a.running, func(w *watched) bool {
		w.lined = w.runs()
		return !w.lined
	})
	slices.SortFunc(a.running, func(v, w *watched) int {
		return v.cursor.Compare(w.cursor)
	})
}

// beside returns the index of the next watch that does not read the same
// history as the one at index at: if there is nothing for that one, there is
// nothing for those in between.
func (a *audience) beside(at int) int {
	c := a.running[at].cursor
	for at < len(a.running) && c.Beside(a.running[at].cursor) {
		at++
	}
	return at
}

// serve sends events to the watch at index at, and to each of those after it
// once it reaches their position. It returns the index of the first that it did
// not reach.
func (a *audience) serve(at int, events watch.Entries, out *message) (next int) {
	first := a.running[at].cursor
	next = at
	var takers []*watched
	for i := range events.Len() {
		e := events.Event(i)
		if i > 0 && e.Revision != events.Event(i-1).Revision && (i >= maxRead || out.full()) {
			break
		}
		for next < len(a.running) && a.running[next].cursor.Position() < e.Revision && first.Beside(a.running[next].cursor) {
			next++
		}
		takers = takers[:0]
		for _, w := range a.running[at:next] {
			if !w.over && w.take(e) {
				takers = append(takers, w)
				a.untidy = a.untidy || !w.runs()
			}
		}
		a.send(takers, events, i, out)
	}
	return next
}

// send puts an event into the message for those that take it: once for all of
// the same method. It writes to takers.
func (a *audience) send(takers []*watched, events watch.Entries, i int, out *message) {
	for len(takers) > 0 {
		m, others := takers[0].method, takers[:0]
		a.ids = a.ids[:0]
		for _, w := range takers {
			if w.method == m {
				a.ids = append(a.ids, w.id)
			} else {
				others = append(others, w)
			}
		}
		b, err := events.Encoded(i, m.Number, m.encode)
		if err == nil {
			out.add(a.ids, b)
		} else {
			a.endAll(a.ids, err, out)
		}
		takers = others
	}
}

func (a *audience) endAll(ids []uint64, err error, out *message) {
	for _, id := range ids {
		a.end(a.open[id], err, out)
	}
}
