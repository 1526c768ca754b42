// Package lease owns the table of leases: the holder, token, expiry and pins of
// each, and its history.
package lease

import (
	"sync"

	"github.com/tidwall/btree"

	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Table is the replicated table of leases. It implements state.Table,
// state.Waitable and state.Grouper, decides on replays and fences, and takes part in a
// recovery. Everything that
// Apply reads must be equal on every agent, so it is a constant or replicated.
//
// Lock and Unlock are for State, which takes the lock once an entry. Check,
// Apply, Due, Tick, Freeze, Restore, Kept and Holds are called with it held;
// every other method that reads the content takes the read lock itself.
type Table struct {
	mu sync.RWMutex

	rows     btree.Map[string, *row]
	used     capacity.Used
	limits   capacity.Limits
	due      schedule // unpinned leases by expiry
	lapsing  schedule // pinned leases by the first pin that expires
	history  history
	paused   state.Time // nothing is granted before
	freezing uint32     // number of Freezes: a row of an older one is copied before it is modified
}

var (
	_ state.Table    = (*Table)(nil)
	_ state.Waitable = (*Table)(nil)

	_ state.EventCodec = (*Table)(nil)
	_ state.Grouper    = (*Table)(nil)

	_ state.Configurable = (*Table)(nil)
)

// New makes an empty table.
func New() *Table {
	return &Table{limits: defaultLimits()}
}

// Name is the table's name in reports and snapshots.
func (t *Table) Name() string { return "leases" }

// ID is machine.LeaseTable.
func (t *Table) ID() state.TableID { return machine.LeaseTable }

// Version is the version of the commands' and the snapshot's encoding.
func (t *Table) Version() uint16 { return 2 }

// Lock takes the table for writing.
func (t *Table) Lock() { t.mu.Lock() }

// Unlock releases the table.
func (t *Table) Unlock() { t.mu.Unlock() }

// insert adds a row whose key is free.
func (t *Table) insert(l *row) {
	t.rows.Set(l.key, l)
	t.used.Add(l.namespace(), capacity.Load{Count: 1, Bytes: l.weight()})
	t.reschedule(l)
}

// replace replaces a row by one with the same key.
func (t *Table) replace(old, l *row) {
	t.unschedule(old)
	t.rows.Set(l.key, l)
	t.used.Add(l.namespace(), capacity.Load{Bytes: l.weight() - old.weight()})
	t.reschedule(l)
}

// remove removes a row from the table.
func (t *Table) remove(l *row) {
	t.unschedule(l)
	t.rows.Delete(l.key)
	t.used.Add(l.namespace(), capacity.Load{Count: -1, Bytes: -l.weight()})
}

// writable returns the row to modify instead of l: l itself, or a copy of it if a
// frozen view may be reading l.
func (t *Table) writable(l *row) *row {
	if l.freezing == t.freezing {
		return l
	}
	own := *l
	own.freezing = t.freezing
	own.schedule = unscheduled
	t.replace(l, &own)
	return &own
}
