package watches

import (
	"slices"
	"sort"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/watch"
)

// audience is the set of watches that one goroutine serves. Only that goroutine
// calls its methods.
type audience struct {
	server  *Server
	caller  admission.Caller
	share   string             // of the caller
	account *admission.Account // of the stream; nil for a watch on a call of its own
	open    map[uint64]*watched
	running []*watched // have credit and read the ring, each at its position; in its order
	waiting waiters    // have credit and have read the ring to its end
	showing []*watched // have credit and receive their snapshot; served in turn
	ahead   []*watched // have not begun: this agent is behind them

	switched <-chan struct{} // closed when a service is switched off or on

	ids         []uint64          // of the watches that get an event; reused
	untidy      bool              // running is unordered, or has watches that cannot continue
	partway     bool              // the last message was full
	behind      interrex.Revision // the next one continues with the watches after this position
	progressAt  interrex.Revision // the revision of the last progress message
	progressDue <-chan struct{}   // closed when the next one is due
}

func newAudience(s *Server, c admission.Caller) *audience {
	ring := s.checker.Ring
	return &audience{
		server: s, caller: c, share: c.Share(), open: map[uint64]*watched{}, waiting: waiters{front: ring.Front()},
		progressDue: ring.UntilProgress(), switched: s.methods.Switches.UntilChanged().Done(),
	}
}

// begin opens a watch, or adds to the message why it cannot. A watch that is ahead
// of this agent has to wait.
func (a *audience) begin(o *interrexv1.WatchOpen, out *message) {
	w, err := a.read(o)
	switch {
	case err != nil:
		a.refuse(o.GetId(), err, out)
	case a.server.checker.Ahead(w.since):
		a.open[w.id] = w
		a.ahead = append(a.ahead, w)
	default:
		a.enter(w, a.server.checker.CheckLoss(w.since), out)
	}
}

// enter begins a watch, or ends it if err is not nil.
func (a *audience) enter(w *watched, err error, out *message) {
	if err == nil {
		err = a.server.checker.CheckQuarantine()
	}
	if err == nil {
		err = a.add(w)
	}
	if err != nil {
		if a.open[w.id] == nil {
			a.account.Give(w.memory)
		}
		a.forget(w.id)
		a.refuse(w.id, err, out)
		return
	}
	out.Opened = append(out.Opened, w.id)
}

func (a *audience) refuse(id uint64, err error, out *message) {
	out.Refused = append(out.Refused, &interrexv1.WatchEnd{Id: id, Error: a.server.checker.Detail(err)})
}

// read returns the watch that a message requests.
func (a *audience) read(o *interrexv1.WatchOpen) (*watched, error) {
	switch {
	case a.open[o.GetId()] != nil:
		return nil, interrex.Errorf(interrex.ErrInvalid, "id: %d is open on this stream already", o.GetId())
	case len(a.open) >= MaxWatches:
		err := interrex.Errorf(interrex.ErrOverloaded, "%d watches are open on this stream: close some, or open another stream", len(a.open))
		err.RetryAfter = consistency.MaxPause
		return nil, err
	}
	w, err := a.server.read(a.caller, o)
	if err != nil {
		return nil, err
	}
	w.memory = watchBytes + 2*len(o.GetBody())
	return w, a.account.Take(w.memory, admission.Small)
}

// add begins a watch: it misses no event from here on.
func (a *audience) add(w *watched) (err error) {
	since := w.since
	if since == 0 && w.present != nil {
		since = a.server.checker.State.Revision()
		w.showing = &snapshot{}
		w.sent.compare = w.compare
	}
	if err := a.server.calls.Take(admission.Watch, a.share, 1); err != nil {
		return err
	}
	if w.cursor, err = a.server.checker.Ring.Follower(since, w.scope); err != nil {
		a.server.calls.Give(admission.Watch, a.share, 1)
		return err
	}
	a.open[w.id] = w
	a.line(w)
	return nil
}

// line queues a watch to which something can be sent.
func (a *audience) line(w *watched) {
	switch {
	case w.queued:
	case w.runs() && w.waits == nil:
		w.queued, a.untidy = true, true
		a.running = append(a.running, w)
	case w.shows():
		w.queued = true
		a.showing = append(a.showing, w)
	}
}

// allow adds to the credit of a watch. It does nothing for a watch that has ended.
func (a *audience) allow(c *interrexv1.WatchCredit, out *message) {
	w := a.open[c.GetId()]
	if w == nil {
		return
	}
	if sum := int64(w.credit) + int64(c.GetEvents()); sum > MaxWatchCredit {
		a.end(w, creditError(sum), out)
		return
	}
	w.credit += int(c.GetEvents())
	a.line(w)
}

// forget removes a watch whose reader has gone.
func (a *audience) forget(id uint64) {
	w := a.open[id]
	if w == nil {
		return
	}
	a.account.Give(w.memory)
	w.over, a.untidy = true, true
	delete(a.open, id)
	a.waiting.leave(w)
	if w.cursor != nil {
		w.cursor.Close()
		a.server.calls.Give(admission.Watch, a.share, 1)
		return
	}
	a.ahead = slices.DeleteFunc(a.ahead, func(other *watched) bool { return other == w })
}

// end ends a watch, and adds the reason to the message.
func (a *audience) end(w *watched, err error, out *message) {
	a.forget(w.id)
	out.Ended = append(out.Ended, &interrexv1.WatchEnd{Id: w.id, Error: a.server.checker.Detail(err)})
}

// gather fills a message. idle reports that there is nothing more to send; alarm is
// then closed when there may be again, and nil if that needs more credit.
func (a *audience) gather(out *message) (alarm <-chan struct{}, idle bool) {
	a.show(out)
	published := a.server.checker.Ring.Stats().Last
	alarm, read := a.readFront(out)
	if idle = a.run(out) && read; idle {
		a.progress(published, out)
	}
	return alarm, idle && len(a.showing) == 0
}

// progress adds to the message, when it is due, that the running watches have reached a
// revision.
func (a *audience) progress(to interrex.Revision, out *message) {
	select {
	case <-a.progressDue:
	default:
		return
	}
	a.progressDue = a.server.checker.Ring.UntilProgress()
	if to <= a.progressAt || a.waiting.front.Waits() == 0 && len(a.running) == 0 {
		return
	}
	a.progressAt = to
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
		most := room{events: min(MaxPresent, MaxWatchEvents/2-out.events), bytes: MaxWatchBytes/2 - out.bytes}
		if most.events <= 0 || most.bytes <= 0 {
			return
		}
		w := a.showing[0]
		a.showing = a.showing[1:]
		w.queued = false
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

// next returns the next part of a watch's snapshot. A panic ends only this watch: the
// stream may have many.
func (a *audience) next(w *watched, most room) (events [][]byte, err error) {
	defer a.server.checker.Guard(w.method.Procedure, &err)
	return w.next(most)
}

// readFront adds events from the ring for the watches that wait, up to three quarters of
// a message; then it is the others' turn. read reports that there are no more.
func (a *audience) readFront(out *message) (alarm <-chan struct{}, read bool) {
	if out.has(3, 4) {
		return nil, false
	}
	events, alarm, err := a.waiting.front.Read()
	if err != nil {
		a.turnBack(err, out)
		events, alarm, err = a.waiting.front.Read()
	}
	if err != nil || events.Len() == 0 { // an error: the ring is closed
		return alarm, true
	}
	a.serveFront(events, out)
	return nil, false
}

// turnBack ends the watches that wait, and begins anew with a front without any.
func (a *audience) turnBack(err error, out *message) {
	for _, w := range a.open {
		if w.waits != nil {
			a.end(w, err, out)
		}
	}
	a.waiting.front.Close()
	a.waiting.front = a.server.checker.Ring.Front()
}

// serveFront sends events to the watches that wait and that want them.
func (a *audience) serveFront(events watch.Entries, out *message) {
	var takers, spent []*watched
	for i := range events.Len() {
		e := events.Event(i)
		if i > 0 && e.Revision != events.Event(i-1).Revision && (i >= maxRead || out.has(3, 4)) {
			break
		}
		takers = a.waiting.takers(takers[:0], e)
		for _, w := range takers {
			if !w.runs() {
				spent = append(spent, w)
			}
		}
		a.send(takers, events, i, out)
		a.waiting.front.Move(e.Revision)
	}
	for _, w := range spent {
		a.waiting.leave(w)
	}
}

// run adds events from the ring for the watches that have not read it to its end. It
// serves them in the order of their positions, and those at the same position together.
// Those that reach the end wait in the front. idle reports that there is nothing left to
// read.
func (a *audience) run(out *message) (idle bool) {
	a.tidy()
	first := a.first()
	idle = first == 0
	for at := first; at < len(a.running); {
		if out.full() {
			return false
		}
		w := a.running[at]
		events, err := a.waiting.read(w)
		switch {
		case err != nil:
			a.end(w, err, out)
			at++
		case events.Len() == 0:
			a.untidy = true
			at++
		default:
			idle = false
			at = a.serve(at, events, out)
			a.partway, a.behind = true, w.cursor.Position()
		}
	}
	a.partway = false
	return idle
}

// first returns the index of the watch whose turn it is.
func (a *audience) first() int {
	if !a.partway {
		return 0
	}
	return sort.Search(len(a.running), func(i int) bool { return a.running[i].cursor.Position() > a.behind })
}

// tidy removes from running the watches that cannot continue, and sorts the others,
// which then stay in order while they advance.
func (a *audience) tidy() {
	if !a.untidy {
		return
	}
	a.untidy = false
	a.running = slices.DeleteFunc(a.running, func(w *watched) bool {
		w.queued = w.runs() && w.waits == nil
		return !w.queued
	})
	slices.SortFunc(a.running, func(v, w *watched) int {
		return v.cursor.Compare(w.cursor)
	})
}

// serve sends events to the watch at index at, and to each of those after it once it
// reaches their position. It returns the index of the first that it did not reach.
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

// send adds an event to the message for the watches that take it, once for each
// method. It overwrites takers.
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

// dismiss ends the watches of services that were switched off.
func (a *audience) dismiss(out *message) {
	a.switched = a.server.methods.Switches.UntilChanged().Done()
	for _, w := range a.open {
		if err := a.server.methods.Served(w.method.Setting, a.caller); err != nil {
			a.end(w, err, out)
		}
	}
}

// close ends all watches.
func (a *audience) close() {
	for id := range a.open {
		a.forget(id)
	}
	a.waiting.front.Close()
}
