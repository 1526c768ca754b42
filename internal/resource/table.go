// Package resource owns the table of resources: named documents with a type, a
// version, and maybe an owner or an owner lease, with which they are deleted.
package resource

import (
	"sync"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Table is the replicated table of resources. It implements state.Table and
// the optional powers below.
//
// Lock and Unlock are for State, which takes the lock once an entry. The methods of
// state's interfaces are called with it held; every other method that reads the
// content takes the read lock itself.
type Table struct {
	mu sync.RWMutex

	rows     btree.Map[string, *Record] // by Record.key
	owned    btree.Map[string, *Record] // those with an owner, by ownedKey
	presence presence                   // those with an owner lease
	orphaned orphans                    // deleted owners whose resources are still to be deleted
	counts   map[string]int64           // resources by GROUP.KIND
	used     capacity.Used
	limits   tableLimits
	// holds reports whether a lease is held; nil: none is.
	holds func(k interrex.Key, token interrex.Token) bool
}

var (
	_ state.Table        = (*Table)(nil)
	_ state.Idler        = (*Table)(nil)
	_ state.Follower     = (*Table)(nil)
	_ state.Configurable = (*Table)(nil)
	_ state.EventCodec   = (*Table)(nil)
	_ state.Grouper      = (*Table)(nil)
)

// New makes an empty table.
func New() *Table {
	return &Table{counts: map[string]int64{}, presence: presence{}, limits: defaultLimits()}
}

// Name is the table's name in reports and snapshots.
func (t *Table) Name() string { return "resources" }

// ID is machine.ResourceTable.
func (t *Table) ID() state.TableID { return machine.ResourceTable }

// Version is the version of the commands' and the snapshot's encoding.
func (t *Table) Version() uint16 { return 1 }

// Lock takes the table for writing.
func (t *Table) Lock() { t.mu.Lock() }

// Unlock releases the table.
func (t *Table) Unlock() { t.mu.Unlock() }

// UseFence gives the table the leases: see state's fenced.
func (t *Table) UseFence(holds func(k interrex.Key, token interrex.Token) bool) { t.holds = holds }

// put adds r, in place of old unless that is nil.
func (t *Table) put(old, r *Record) {
	if old != nil {
		t.forget(old)
	}
	t.rows.Set(r.key, r)
	t.note(r)
	if old != nil {
		t.settle(old)
	}
}

// remove removes r from the table.
func (t *Table) remove(r *Record) {
	t.rows.Delete(r.key)
	t.forget(r)
	t.settle(r)
}

// note adds a resource to everything but rows.
func (t *Table) note(r *Record) {
	t.counts[r.kind()]++
	t.used.Add(r.namespace(), capacity.Load{Count: 1, Bytes: r.weight()})
	if r.Owner != nil {
		t.owned.Set(ownedKey(*r.Owner, r.key), r)
	}
	if r.OwnerLease != nil {
		t.presence.add(r)
	}
}

// forget is the reverse of note.
func (t *Table) forget(r *Record) {
	k := r.kind()
	if t.counts[k]--; t.counts[k] == 0 {
		delete(t.counts, k)
	}
	t.used.Add(r.namespace(), capacity.Load{Count: -1, Bytes: -r.weight()})
	if r.Owner != nil {
		t.owned.Delete(ownedKey(*r.Owner, r.key))
	}
	if r.OwnerLease != nil {
		t.presence.remove(r)
	}
}

// end removes a resource in the turn, and publishes its last state.
func (t *Table) end(turn *state.Turn, r *Record) {
	t.remove(r)
	t.orphan(r)
	turn.Emit(interrex.ResourceDeleted, r.ID.String(), r, r.size())
}
