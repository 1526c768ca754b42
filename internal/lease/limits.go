package lease

import (
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/state"
)

func defaultLimits() capacity.Limits {
	return capacity.NewLimits("leases", capacity.Load{Count: 2_000_000, Bytes: 1 << 30})
}

// Settings is part of state.Configurable.
func (t *Table) Settings() []state.Setting {
	return defaultLimits().Settings("their names, holders, metadata and pins")
}

// Configure is part of state.Configurable.
func (t *Table) Configure(value func(name string) string) { t.limits.Configure(value) }

// weighing is a command that changes what the limits count.
type weighing interface {
	// weigh adds its effect, if check allows it, to sum.
	weigh(t *Table, sum *capacity.Load)
}

// change returns what a command would change of what the limits count.
func (t *Table) change(c state.Command) capacity.Change {
	by := capacity.Change{Namespace: c.About().Key.Namespace}
	if w, is := c.(weighing); is {
		w.weigh(t, &by.Load)
	}
	return by
}

// Usage returns how much of its limits the table uses.
func (t *Table) Usage() capacity.Usage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.used.Usage(t.limits)
}
