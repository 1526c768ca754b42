package resource

import (
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// presence has the resources with an owner lease, by the lease's key as its
// events name it, then by their own.
type presence map[string]*btree.Map[string, *Record]

func (p presence) add(r *Record) {
	lease := r.OwnerLease.Key.String()
	if p[lease] == nil {
		p[lease] = new(btree.Map[string, *Record])
	}
	p[lease].Set(r.key, r)
}

func (p presence) remove(r *Record) {
	lease := r.OwnerLease.Key.String()
	if p[lease].Delete(r.key); p[lease].Len() == 0 {
		delete(p, lease)
	}
}

// count returns the number of resources that a lease owns. Those of an earlier
// token are gone.
func (p presence) count(k interrex.Key) int {
	if rows := p[k.String()]; rows != nil {
		return rows.Len()
	}
	return 0
}

// held reports whether a lease is held under its token now.
func (t *Table) held(l interrex.Fence) bool {
	return t.holds != nil && t.holds(l.Key, l.Token)
}

// Follow is part of state.Follower: a resource is deleted when the token of its
// owner lease ends, with its own revision.
func (t *Table) Follow(turn *state.Turn, events []state.Event) {
	for i := range events {
		if events[i].Table != machine.LeaseTable {
			continue
		}
		rows := t.presence[events[i].Key]
		if rows == nil {
			continue
		}
		for _, r := range rows.Values() {
			if !t.held(*r.OwnerLease) {
				turn.Next()
				t.end(turn, r)
			}
		}
	}
}

func sortedKeys(m map[interrex.Key]int) []interrex.Key {
	return slices.SortedFunc(maps.Keys(m), interrex.Key.Compare)
}
