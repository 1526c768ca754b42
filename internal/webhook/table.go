// Package webhook owns the table of webhooks: the URLs that are called before
// operations or after events, and the delivery positions of the latter.
package webhook

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// Table is the replicated table of webhooks. It implements state.Table,
// state.EventCodec and state.Grouper.
//
// Lock and Unlock are for State, which takes the lock once an entry. Hooks and Get
// need no lock.
type Table struct {
	mu    sync.Mutex
	hooks atomic.Pointer[[]*Hook] // by name; immutable, like each Hook
}

var (
	_ state.Table      = (*Table)(nil)
	_ state.EventCodec = (*Table)(nil)
	_ state.Grouper    = (*Table)(nil)
)

// New makes an empty table.
func New() *Table {
	t := &Table{}
	t.hooks.Store(new([]*Hook))
	return t
}

// Name is the table's name in reports and snapshots.
func (t *Table) Name() string { return "webhooks" }

// ID is machine.WebhookTable.
func (t *Table) ID() state.TableID { return machine.WebhookTable }

// Version is the version of the commands' and the snapshot's encoding.
func (t *Table) Version() uint16 { return 1 }

// Lock takes the table for writing.
func (t *Table) Lock() { t.mu.Lock() }

// Unlock releases the table.
func (t *Table) Unlock() { t.mu.Unlock() }

// Due reports that time ends nothing here.
func (t *Table) Due() (state.Time, bool) { return 0, false }

// Tick has nothing to end.
func (t *Table) Tick(*state.Turn, int) int { return 0 }

// Hooks returns all hooks, by name. The slice must not be modified.
func (t *Table) Hooks() []*Hook { return *t.hooks.Load() }

// Get returns a hook; nil if there is none.
func (t *Table) Get(name string) *Hook {
	all := t.Hooks()
	if i, found := find(all, name); found {
		return all[i]
	}
	return nil
}

func find(all []*Hook, name string) (int, bool) {
	return slices.BinarySearchFunc(all, name, func(h *Hook, name string) int { return strings.Compare(h.Name, name) })
}

// put adds a hook, or replaces the one of its name.
func (t *Table) put(h *Hook) {
	all := slices.Clone(t.Hooks())
	i, found := find(all, h.Name)
	if found {
		all[i] = h
	} else {
		all = slices.Insert(all, i, h)
	}
	t.hooks.Store(&all)
}

// remove removes a hook.
func (t *Table) remove(name string) {
	all := slices.Clone(t.Hooks())
	if i, found := find(all, name); found {
		all = slices.Delete(all, i, i+1)
	}
	t.hooks.Store(&all)
}

// emit publishes an event, which has no secrets.
func emit(turn *state.Turn, kind string, h *Hook) {
	plain := h.Plain()
	turn.Emit(kind, h.Name, plain, plain.size())
}

func notFound(what, name string) *interrex.Error {
	return interrex.Errorf(interrex.ErrNotFound, "cannot %s webhook %q: it does not exist: 'interrex webhook list' shows the names", what, name)
}
