package lease

import (
	"time"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Limits of the history.
const (
	historyLines = 16             // lines of one key, the present holder's included when it is read
	historyAge   = 24 * time.Hour // of cluster time, after a key's last ending
	historyKeys  = 65_536         // beyond that the key whose last ending is oldest is dropped
	historyBytes = 64 << 20       // and beyond this, as past.weight counts them

	// forgetAtOnce bounds how many keys that are too old one turn drops: a step of
	// time may make a thousand of them at once. The next turns drop the rest;
	// historyKeys holds meanwhile.
	forgetAtOnce = 64
)

// history remembers how the leases of a key ended.
type history struct {
	byKey btree.Map[string, *past]
	// byAge has the same histories by the revision of their last ending: revisions
	// and cluster time grow together.
	byAge btree.Map[interrex.Revision, *past]
	bytes int
}

// past is the history of one key. It is immutable, because a frozen view may be
// reading it: another line makes a new one.
type past struct {
	key   string
	last  state.Time        // of the newest line's ending
	at    interrex.Revision // of the same
	lines []line            // oldest first
}

// weight estimates the bytes in memory.
func (p *past) weight() int {
	const fixed, each = 128, 72
	n := fixed + len(p.key)
	for _, l := range p.lines {
		n += each + len(l.holder)
	}
	return n
}

// line is one lease that has ended.
type line struct {
	holder          string
	token           interrex.Token
	acquired, ended int64 // as wallNanos makes them
	how             interrex.Ending
}

// add remembers that l has ended in this turn.
func (h *history) add(turn *state.Turn, l *row, how interrex.Ending) {
	p := &past{key: l.key, last: turn.Now, at: turn.Revision}
	if old, ok := h.byKey.Get(l.key); ok {
		h.byAge.Delete(old.at)
		h.bytes -= old.weight()
		p.key = old.key
		p.lines = old.lines[max(0, len(old.lines)+1-historyLines):]
	}
	lines := make([]line, 0, len(p.lines)+1)
	p.lines = append(append(lines, p.lines...), line{
		holder: l.holder, token: l.token, acquired: l.acquired, ended: wallNanos(turn.Wall), how: how,
	})
	h.set(p)
	for h.byAge.Len() > historyKeys || h.bytes > historyBytes {
		h.dropOldest()
	}
}

// how returns how the lease under a token ended; "" if the history does not have
// it.
func (h *history) how(k interrex.Key, token interrex.Token) interrex.Ending {
	if p, ok := h.byKey.Get(join(k)); ok {
		for _, l := range p.lines {
			if l.token == token {
				return l.how
			}
		}
	}
	return ""
}

func (h *history) set(p *past) {
	h.byKey.Set(p.key, p)
	h.byAge.Set(p.at, p)
	h.bytes += p.weight()
}

// forget drops keys whose last ending is too long ago.
func (h *history) forget(now state.Time) {
	for range forgetAtOnce {
		_, oldest, ok := h.byAge.Min()
		if !ok || now.Sub(oldest.last) < historyAge {
			return
		}
		h.dropOldest()
	}
}

func (h *history) dropOldest() {
	_, oldest, _ := h.byAge.PopMin()
	h.byKey.Delete(oldest.key)
	h.bytes -= oldest.weight()
}
