package api

import (
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Limits of the watches of one stream.
const (
	MaxWatches     = 4096      // that are open
	MaxWatchCredit = 65_536    // events that one of them may be sent
	MaxWatchEvents = 1024      // of one message
	MaxWatchBytes  = 256 << 10 // of one message
	MaxWatchBody   = 2 << 10   // bytes of one watch's request
)

// audience is the set of watches that one goroutine serves. Only that goroutine
// calls its methods.
type audience struct {
	server  *Server
	caller  caller
	open    map[uint64]*watched
	running []*watched // have credit, and take from the ring; in the order of their positions
	showing []*watched // have credit, and take what is present; in turn
	ahead   []*watched // have not begun: this agent is behind them

	switched <-chan struct{} // closed when a service is switched off, or on

	ids     []uint64          // reused: of the watches that get an event
	untidy  bool              // running is out of order, or has watches that cannot go on
	partway bool              // the last message was full
	behind  interrex.Revision // and the next continues with the watches after this position
	told    interrex.Revision // the last progress that was sent, and
	toldAt  time.Time         // when; or when the first watch may begin
}

func newAudience(s *Server, c caller) *audience {
	return &audience{server: s, caller: c, open: map[uint64]*watched{}, toldAt: s.config.Clock.Now(), switched: s.config.Switches.changed()}
}

// begin opens a watch, or reports in the message why it cannot. One that is
// ahead of this agent has to wait.
func (a *audience) begin(o *interrexv1.WatchOpen, out *message) {
	w, err := a.read(o)
	switch {
	case err != nil:
		a.refuse(o.GetId(), err, out)
	case a.server.ahead(w.since):
		a.open[w.id] = w
		a.ahead = append(a.ahead, w)
	default:
		a.enter(w, a.server.notLost(w.since), out)
	}
}

// enter begins a watch, unless there is an error already.
func (a *audience) enter(w *watched, err error, out *message) {
	if err == nil {
		err = a.server.quarantined()
	}
	if err == nil {
		err = a.add(w)
	}
	if err != nil {
		a.forget(w.id)
		a.refuse(w.id, err, out)
		return
	}
	out.Opened = append(out.Opened, w.id)
}

func (a *audience) refuse(id uint64, err error, out *message) {
	out.Refused = append(out.Refused, &interrexv1.WatchEnd{Id: id, Error: a.server.detail(err)})
}

// read reads what a watch asks for.
func (a *audience) read(o *interrexv1.WatchOpen) (*watched, error) {
	method := a.server.watches[o.GetMethod()]
	switch {
	case a.open[o.GetId()] != nil:
		return nil, interrex.Errorf(interrex.KindInvalid, "id: %d is open on this stream already", o.GetId())
	case len(a.open) >= MaxWatches:
		err := interrex.Errorf(interrex.KindOverloaded, "%d watches are open on this stream: close some, or open another stream", len(a.open))
		err.RetryAfter = maxPause
		return nil, err
	case o.GetCredit() > MaxWatchCredit:
		return nil, creditError(int64(o.GetCredit()))
	case len(o.GetBody()) > MaxWatchBody:
		return nil, interrex.Errorf(interrex.KindTooLarge, "body: %d bytes are more than %d", len(o.GetBody()), MaxWatchBody)
	case method == nil:
		return nil, interrex.Errorf(interrex.KindDisabled, "method: %d is no watch that agent %s knows", o.GetMethod(), a.server.config.ID)
	}
	f, err := method.ask(a.server, a.caller, o.GetBody())
	return &watched{feed: f, method: method, id: o.GetId(), credit: int(o.GetCredit())}, err
}

// add begins a watch: it misses nothing that comes after.
func (a *audience) add(w *watched) (err error) {
	since := w.since
	if since == 0 && w.present != nil {
		since = a.server.config.State.Revision()
		w.showing = &snapshot{}
	}
	if w.cursor, err = a.server.config.Ring.Cursor(since); err != nil {
		return err
	}
	a.open[w.id] = w
	a.line(w)
	return nil
}

// line queues a watch that can be sent something.
func (a *audience) line(w *watched) {
	switch {
	case w.lined:
	case w.runs():
		w.lined, a.untidy = true, true
		a.running = append(a.running, w)
	case w.shows():
		w.lined = true
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

func creditError(n int64) error {
	return interrex.Errorf(interrex.KindInvalid, "credit: %d events exceed the limit of %d", n, MaxWatchCredit)
}

// forget ends a watch whose reader has gone.
func (a *audience) forget(id uint64) {
	w := a.open[id]
	if w == nil {
		return
	}
	w.over, a.untidy = true, true
	delete(a.open, id)
	if w.cursor != nil {
		w.cursor.Close()
		return
	}
	a.ahead = slices.DeleteFunc(a.ahead, func(other *watched) bool { return other == w })
}

// end ends a watch, and says why.
func (a *audience) end(w *watched, err error, out *message) {
	a.forget(w.id)
	out.Ended = append(out.Ended, &interrexv1.WatchEnd{Id: w.id, Error: a.server.detail(err)})
}

// dismiss ends the watches of services that have been switched off.
func (a *audience) dismiss(out *message) {
	a.switched = a.server.config.Switches.changed()
	for _, w := range a.open {
		if err := a.server.served(w.method.setting, a.caller); err != nil {
			a.end(w, err, out)
		}
	}
}

// close ends all watches.
func (a *audience) close() {
	for id := range a.open {
		a.forget(id)
	}
}
