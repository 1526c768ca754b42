package resource

import (
	"maps"
	"strings"

	"github.com/interrex/interrex"
)

// pageSize is the page of a list that does not say.
const pageSize = 1000

// ReadView is the table at one moment; it lives as long as the call of
// Table.Read that gave it.
type ReadView struct{ t *Table }

// Read runs fn while the table stands still, and Apply with it: fn is short and
// calls no other method of the table. Whoever lists and then watches reads the
// state's revision in fn too, or before; never after.
func (t *Table) Read(fn func(v ReadView)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	fn(ReadView{t})
}

// find returns the resource of an ID, whatever its uid and group version; nil:
// there is none.
func (t *Table) find(id interrex.ResourceID) *Record {
	r, _ := t.rows.Get(join(id))
	return r
}

// Get returns the resource of an ID; an empty UID is any. Its group version may
// be another. nil: there is none.
func (v ReadView) Get(id interrex.ResourceID) *Record {
	r := v.t.find(id)
	if r == nil || id.UID != "" && id.UID != r.ID.UID {
		return nil
	}
	return r
}

// Beginning is the prefix of the keys (see Record.Key) of everything in a list.
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
// one behind after (a Record.Key, empty: from the start), and whether there are
// more. A limit below 1 is 1 000.
func (v ReadView) List(s interrex.ResourceSelection, after string, limit int) (items []*Record, more bool) {
	if limit < 1 {
		limit = pageSize
	}
	start, from := scope(s.Type.Group, s.Type.Kind), Beginning(s)
	if after != "" {
		from = max(from, after+separator) // the first text behind it
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

// scan passes the matching rows of one stretch to fn, and says where the next
// stretch begins; false: there is none. A stretch ends where nothing more of a
// partition, or of a namespace, can match, so that the rest of it is jumped over.
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

// following returns the next place, behind a row that does not match, at which one may.
func following(s interrex.ResourceSelection, start string, at interrex.Tenancy, name string) (next string, ok bool) {
	const behind = "\x01" // all that begins with the same part
	anyPartition, anyNamespace := s.Tenancy.Partition == interrex.Wildcard, s.Tenancy.Namespace == interrex.Wildcard
	partition := start + at.Partition
	if !anyPartition && at.Partition != s.Tenancy.Partition {
		return "", false // the scan began there, so this is behind it
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

// ListByOwner returns up to limit resources whose owner is that one, with that
// UID, in the order of their keys: see List. The owner need not exist.
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

// Counts says how many resources each GROUP.KIND has; one without any is
// absent.
func (t *Table) Counts() map[string]int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return maps.Clone(t.counts)
}

// Usage is how much of the limits of the whole table is used.
type Usage struct {
	Count, MaxCount int64
	Bytes, MaxBytes int64
}

// Usage returns the present one.
func (t *Table) Usage() Usage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return Usage{Count: int64(t.rows.Len()), MaxCount: t.limits.count, Bytes: t.bytes, MaxBytes: t.limits.bytes}
}
