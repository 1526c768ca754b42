package change

import (
	"iter"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// History is the kept changes at one moment.
type History struct{ v view }

// History returns the kept changes.
func (t *Table) History() History {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return History{t.feed.view()}
}

// Last returns the revision of the feed.
func (h History) Last() interrex.Revision { return h.v.last }

// Has returns ErrCompacted, with the FirstRevision to request, if what follows a revision
// is no longer kept.
func (h History) Has(r interrex.Revision) error {
	if r < h.v.floor {
		return h.v.compacted(r)
	}
	return nil
}

// At returns the revision of the newest change that was made at a time or before it, by
// its leader's wall clock. The error is ErrCompacted if that is no longer kept.
func (h History) At(t time.Time) (interrex.Revision, error) {
	for e := range h.UpTo(h.v.last) {
		if !e.Wall.After(t) {
			return e.Revision, nil
		}
	}
	if h.v.floor > 0 {
		err := interrex.Errorf(interrex.ErrCompacted, "what happened until %s is no longer kept: request revision %d or later", t.UTC().Format(time.RFC3339), h.v.floor)
		err.FirstRevision = h.v.floor
		return 0, err
	}
	return 0, nil
}

// Between yields what follows a revision, up to another one, in order. Do not modify it.
func (h History) Between(r, to interrex.Revision) iter.Seq[*state.Event] {
	return func(yield func(*state.Event) bool) {
		h.v.forward(h.v.after(r), func(e *state.Event) bool { return e.Revision <= to && yield(e) })
	}
}

// UpTo yields what precedes a revision, and the revision itself, the newest first.
func (h History) UpTo(r interrex.Revision) iter.Seq[*state.Event] {
	return func(yield func(*state.Event) bool) { h.v.backward(h.v.after(r), yield) }
}
