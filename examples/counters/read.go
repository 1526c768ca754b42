package counters

import (
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// MaxPage is the largest number of counters in a page of a list.
const MaxPage = 1000

// get returns a counter, and the table's revision.
func (t *table) get(k interrex.Key, s state.State) (r Record, there bool, at interrex.Revision) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, there = t.counters.Get(k.String())
	return r, there, s.Revision()
}

// list returns the counters after a key whose keys begin with a prefix, at most
// so many, in order, whether there are more, and the table's revision.
func (t *table) list(prefix, after string, most int, s state.State) (page []Record, more bool, at interrex.Revision) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.counters.Ascend(max(after, prefix), func(k string, r Record) bool {
		if k == after {
			return true
		}
		covered := strings.HasPrefix(k, prefix)
		more = covered && len(page) == most
		if covered && !more {
			page = append(page, r)
		}
		return covered && !more
	})
	return page, more, s.Revision()
}
