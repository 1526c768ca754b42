package resource

import (
	"strings"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// orphans are deleted owners whose resources are still to be deleted, by the prefix
// of their keys in the index of owners.
type orphans struct{ btree.Map[string, struct{}] }

// noTypes and allTypes are the values of the setting that are not a list of types.
const (
	noTypes  = "none"
	allTypes = "*"
)

// reaped is the value of settingReaped: the kinds of owner whose deletion deletes
// what they own.
type reaped struct {
	all   bool
	kinds map[string]bool // GROUP.KIND
}

func (r reaped) has(kind string) bool { return r.all || r.kinds[kind] }

func parseReaped(value string) (r reaped, err error) {
	switch value {
	case noTypes:
		return r, nil
	case allTypes:
		return reaped{all: true}, nil
	}
	r.kinds = map[string]bool{}
	for _, kind := range strings.Split(value, ",") {
		group, name, both := cutKind(kind)
		t := interrex.ResourceType{Group: group, GroupVersion: "v1", Kind: name}
		if !both || t.Validate() != nil {
			return r, interrex.Errorf(interrex.ErrInvalid, "%s: %s, %s, or a list of GROUP.KIND with commas is allowed, not %q", settingReaped, noTypes, allTypes, value)
		}
		r.kinds[kind] = true
	}
	return r, nil
}

func cutKind(s string) (group, kind string, both bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// orphan records a deleted owner, if the resources that it owns are deleted with
// it.
func (t *Table) orphan(owner *Record) {
	if !t.limits.reaped.has(owner.kind()) {
		return
	}
	start := ownedBy(owner.ID)
	if _, owns := t.firstOwned(start); owns {
		t.orphaned.Set(start, struct{}{})
	}
}

// settle forgets a deleted owner once it owns nothing any more.
func (t *Table) settle(owned *Record) {
	if owned.Owner == nil || t.orphaned.Len() == 0 {
		return
	}
	start := ownedBy(*owned.Owner)
	if _, owns := t.firstOwned(start); !owns {
		t.orphaned.Delete(start)
	}
}

// firstOwned returns the first resource whose key in the index of owners begins
// with start.
func (t *Table) firstOwned(start string) (first *Record, found bool) {
	t.owned.Ascend(start, func(key string, r *Record) bool {
		if strings.HasPrefix(key, start) {
			first, found = r, true
		}
		return false
	})
	return first, found
}

// Due is part of state.Table: orphans are deleted as soon as possible.
func (t *Table) Due() (state.Time, bool) { return 0, t.orphaned.Len() > 0 }

// Tick is part of state.Table. It removes the resources of deleted owners, in the
// order of owner and key, each with its own revision. A removed resource may be an
// owner itself.
func (t *Table) Tick(turn *state.Turn, limit int) int {
	n := 0
	for n < limit {
		start, _, some := t.orphaned.Min()
		if !some {
			break
		}
		r, _ := t.firstOwned(start) // there is one: see settle
		turn.Next()
		t.end(turn, r)
		n++
	}
	return n
}
