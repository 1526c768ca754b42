package watches

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// watched is one watch that is open.
type watched struct {
	feed
	method  *watchable
	id      uint64
	cursor  *watch.Cursor     // nil until the watch has begun
	credit  int               // events that may be sent; a negative value is deducted from the next credit
	showing *snapshot         // nil if the snapshot was sent or not requested
	sent    SentRows          // rows of the snapshot
	memory  int               // that it has taken of its stream's account
	queued  bool              // it is in the audience's running or showing
	waits   *interest.Entry   // its place in the audience's waiting; nil: it does not wait there
	joined  interrex.Revision // since it waits: it has read everything up to here
	shown   uint64            // the last event that it was shown there, as the audience counts them
	over    bool
}

// snapshot is the progress of a watch's initial snapshot.
type snapshot struct {
	after string // the next part starts after this key
	sent  bool   // all rows were sent, but not the event that ends it
}

// runs reports whether the watch can receive events from the ring.
func (w *watched) runs() bool { return w.cursor != nil && !w.over && w.credit > 0 && w.showing == nil }

// shows reports whether the watch can receive a part of its snapshot.
func (w *watched) shows() bool { return !w.over && w.credit > 0 && w.showing != nil }

// take moves the watch past an event, and reports whether to send it. A watch that
// has used up its credit stays between two revisions.
func (w *watched) take(e *state.Event) bool {
	if w.credit <= 0 && e.Revision != w.cursor.Position() {
		return false
	}
	w.cursor.Move(e.Revision)
	return w.wants(e)
}

// takeWaiting is take for a watch that waits in the front, which reads for it. It is
// shown only events that may be for it.
func (w *watched) takeWaiting(e *state.Event) bool {
	if w.over || e.Revision <= w.joined || w.credit <= 0 && e.Revision != w.cursor.Position() || !w.wants(e) {
		return false
	}
	w.cursor.Move(e.Revision)
	return true
}

// wants reports whether to send an event, and deducts it from the credit.
func (w *watched) wants(e *state.Event) bool {
	if !w.match(e) || w.sent.Has(e) {
		return false
	}
	w.credit--
	return true
}

// next returns the next part of the snapshot.
func (w *watched) next(most room) ([][]byte, error) {
	most.events = min(most.events, w.credit)
	if w.showing.sent {
		return w.finish()
	}
	p := w.present(w.showing.after, most)
	if p.err != nil {
		return nil, p.err
	}
	w.showing.after, w.showing.sent = p.last, !p.more
	w.credit -= len(p.events)
	w.sent.Add(p.last, p.more, p.revision)
	if w.credit <= 0 || p.more || len(p.events) >= most.events {
		return p.events, nil
	}
	last, err := w.finish()
	return append(p.events, last...), err
}

// finish returns the event that ends the snapshot.
func (w *watched) finish() ([][]byte, error) {
	w.showing = nil
	w.credit--
	b, err := w.complete(w.cursor.Position())
	return [][]byte{b}, err
}
