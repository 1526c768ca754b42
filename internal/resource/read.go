package resource

import (
	"github.com/interrex/interrex/internal/capacity"
	"maps"
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

// find returns the resource of an ID, of any uid and group version; nil if there
// is none.
func (t *Table) find(id interrex.ResourceID) *Record {
	r, _ := t.rows.Get(join(id))
	return r
}

// Get returns the resource of an ID, of any group version; nil if there is none.
// An empty UID matches any.
func (v ReadView) Get(id interrex.ResourceID) *Record {
	r := v.t.find(id)
	if r == nil || id.UID != "" && id.UID != r.ID.UID {
		return nil
	}
	return r
}

// Beginning returns the prefix of the keys (see Record.Key) of everything in a
// list.
func Beginning(s interrex.ResourceSelection) string {
	b := scope(s.Type.Group, s.Type.Kind)
	if s.Tenancy.Partition == interrex.Wildcard {
		return b
	}
	b += s.Tenancy.Partition + separator
	if s.Tenancy.Namespace == interrex.Wildcard {
		return b
	}
	return b + s.Tenancy.Namespace + separator + s.NamePrefix
}

// List returns up to limit resources in the order of their keys, from the first
// one after the key after (a Record.Key, empty: from the start), and whether there
// are more. A limit below 1 is 1 000.
func (v ReadView) List(s interrex.ResourceSelection, after string, limit int) (items []*Record, more bool) {
	if limit < 1 {
		limit = pageSize
	}
	start, from := scope(s.Type.Group, s.Type.Kind), Beginning(s)
	if after != "" {
		from = max(from, after+separator) // the first text after it
	}
	for ok := true; ok; {
		from, ok = v.scan(s, start, from, func(r *Record) bool {
			if more = len(items) == limit; more {
				return false
			}
			items = append(items, r)
			return true
		})
	}
	return items, more
}

// scan calls fn with the matching rows of one range, and returns where the next
// range begins; false if there is none. A range ends where no more of a partition,
// or of a namespace, can match: the rest of it is skipped.
func (v ReadView) scan(s interrex.ResourceSelection, start, from string, fn func(r *Record) bool) (next string, ok bool) {
	v.t.rows.Ascend(from, func(key string, r *Record) bool {
		if !strings.HasPrefix(key, start) {
			return false
		}
		if s.Matches(r.ID) {
			return fn(r)
		}
		next, ok = following(s, start, r.ID.Tenancy, r.ID.Name)
		return false
	})
	return next, ok
}

// following returns the next place, after a row that does not match, at which one may.
func following(s interrex.ResourceSelection, start string, at interrex.Tenancy, name string) (next string, ok bool) {
	const behind = "\x01" // after all that begins with the same part
	anyPartition, anyNamespace := s.Tenancy.Partition == interrex.Wildcard, s.Tenancy.Namespace == interrex.Wildcard
	partition := start + at.Partition
	if !anyPartition && at.Partition != s.Tenancy.Partition {
		return "", false // the scan began there, so this is after it
	}
	switch {
	case !anyNamespace && at.Namespace < s.Tenancy.Namespace:
		return partition + separator + s.Tenancy.Namespace + separator + s.NamePrefix, true
	case !anyNamespace && at.Namespace > s.Tenancy.Namespace:
		return partition + behind, anyPartition
	case name < s.NamePrefix:
		return partition + separator + at.Namespace + separator + s.NamePrefix, true
	case anyNamespace:
		return partition + separator + at.Namespace + behind, true
	}
	return partition + behind, anyPartition
}

// ListByOwner returns up to limit resources of an owner, with the same UID, in the
// order of their keys: see List. The owner need not exist.
func (v ReadView) ListByOwner(owner interrex.ResourceID, after string, limit int) (items []*Record, more bool) {
	if limit < 1 {
		limit = pageSize
	}
	start := ownedBy(owner)
	from := start
	if after != "" {
		from += after + separator
	}
	v.t.owned.Ascend(from, func(key string, r *Record) bool {
		if !strings.HasPrefix(key, start) {
			return false
		}
		if more = len(items) == limit; more {
			return false
		}
		items = append(items, r)
		return true
	})
	return items, more
}

// Counts returns the number of resources by GROUP.KIND, as capacity.Biggest does.
func (t *Table) Counts() map[string]int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return capacity.Biggest(maps.All(t.counts))
}

// Usage returns how much of its limits the table uses.
func (t *Table) Usage() capacity.Usage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.used.Usage(t.limits.Limits)
}

// Tally calls note with the namespace of each resource, and the bytes that it has in a
// snapshot.
func (t *Table) Tally(note func(namespace string, bytes int)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var b []byte
	t.rows.Scan(func(_ string, r *Record) bool {
		b = appendRecord(b[:0], r)
		note(r.ID.Tenancy.Namespace, len(b))
		return true
	})
}
