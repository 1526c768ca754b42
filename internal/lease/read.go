package lease

import (
	"slices"
	"strings"

	"github.com/interrex/interrex"
)

// pageSize is the default limit of a list.
const pageSize = 1000

// ReadView is the table at one moment. It is valid until the fn of Table.Read
// returns.
type ReadView struct{ t *Table }

// Read runs fn while the table does not change, which blocks Apply: fn must be
// short, and must not call another method of the table. A caller that lists and
// then watches must read the state's revision in fn, or before it, never after.
func (t *Table) Read(fn func(v ReadView)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	fn(ReadView{t})
}

// Get returns the lease of k; false if it is not held.
func (v ReadView) Get(k interrex.Key) (Record, bool) {
	l, ok := v.t.rows.Get(join(k))
	if !ok {
		return Record{}, false
	}
	return l.record(), true
}

// List returns up to limit leases of a scope, in the order of their keys, and whether
// there are more. A limit below 1 is 1 000.
func (v ReadView) List(scope Scope, limit int) (items []Record, more bool) {
	if limit < 1 {
		limit = pageSize
	}
	v.each(scope, func(l *row) bool {
		if more = len(items) == limit; more {
			return false
		}
		if len(items) == cap(items) { // append would copy a long list more often
			items = slices.Grow(items, min(max(firstRows, 3*len(items)), limit-len(items)))
		}
		items = append(items, l.record())
		return true
	})
	return items, more
}

// firstRows is the number of rows for which a list has memory at first.
const firstRows = 16

// each calls fn with the rows of a scope, in the order of their keys, until it returns
// false.
func (v ReadView) each(s Scope, fn func(l *row) bool) {
	from := s.Namespace + separator + s.Prefix
	if s.Namespace == "" {
		from = ""
	}
	if s.After != (interrex.Key{}) {
		from = max(from, join(s.After)+"\x00") // the first text after it
	}
	for ok := true; ok; {
		from, ok = v.scan(from, s.Namespace, s.Prefix, fn)
	}
}

// scan calls fn with the matching rows of one range, and returns where the next
// range begins; false if there is none. A range ends where a namespace has no more
// names with the prefix: the rest of the namespace is skipped.
func (v ReadView) scan(from, namespace, prefix string, fn func(l *row) bool) (next string, ok bool) {
	v.t.rows.Ascend(from, func(key string, l *row) bool {
		space, name, _ := strings.Cut(key, separator)
		switch {
		case namespace != "" && space != namespace:
			return false
		case strings.HasPrefix(name, prefix):
			return fn(l)
		case name < prefix:
			next, ok = space+separator+prefix, true
		default:
			next, ok = space+"\x01", namespace == ""
		}
		return false
	})
	return next, ok
}

// History returns the holders of k: the past ones, oldest first, then the present
// one with an empty How; at most the newest 16. Empty: nothing is known.
func (v ReadView) History(k interrex.Key) []interrex.PastLease {
	var out []interrex.PastLease
	if p, ok := v.t.history.byKey.Get(join(k)); ok {
		for _, l := range p.lines {
			out = append(out, interrex.PastLease{
				Holder: l.holder, Token: l.token, How: l.how,
				AcquiredAt: wallTime(l.acquired), EndedAt: wallTime(l.ended),
			})
		}
	}
	if l, ok := v.t.rows.Get(join(k)); ok {
		out = append(out, interrex.PastLease{Holder: l.holder, Token: l.token, AcquiredAt: wallTime(l.acquired)})
	}
	return out[max(0, len(out)-historyLines):]
}

// Get is ReadView.Get.
func (t *Table) Get(k interrex.Key) (r Record, ok bool) {
	t.Read(func(v ReadView) { r, ok = v.Get(k) })
	return r, ok
}

// List is ReadView.List.
func (t *Table) List(namespace, prefix string, after interrex.Key, limit int) (items []Record, more bool) {
	t.Read(func(v ReadView) { items, more = v.List(Scope{namespace, prefix, after}, limit) })
	return items, more
}

// History is ReadView.History.
func (t *Table) History(k interrex.Key) (past []interrex.PastLease) {
	t.Read(func(v ReadView) { past = v.History(k) })
	return past
}

// Count returns the number of leases.
func (t *Table) Count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows.Len()
}

// Counts returns the number of leases by namespace, as capacity.Biggest does.
func (t *Table) Counts() map[string]int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.used.Counts()
}

// Tally calls note with the namespace of each lease, and of each history of a key, how
// many leases that is, and the bytes that it has in a snapshot.
func (t *Table) Tally(note func(namespace string, leases, bytes int)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var b []byte
	t.rows.Scan(func(_ string, l *row) bool {
		b = appendRecord(b[:0], l.record())
		note(l.namespace(), 1, len(b))
		return true
	})
	t.history.byKey.Scan(func(_ string, p *past) bool {
		b = appendPast(b[:0], p)
		note(split(p.key).Namespace, 0, len(b))
		return true
	})
}

// CanExpire reports whether there is a lease or a pin that can expire.
func (t *Table) CanExpire() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, ok := t.Due()
	return ok
}
