package lease

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The settings of the table.
const (
	settingCount = "leases.max-count"
	settingBytes = "leases.max-bytes"
)

// tableLimits are the limits of the table, which are settings.
type tableLimits struct {
	count int64 // leases
	bytes int64 // of all leases, as row.weight counts them
}

func defaultLimits() tableLimits { return tableLimits{count: 2_000_000, bytes: 1 << 30} }

// Settings is part of state.Configurable.
func (t *Table) Settings() []state.Setting {
	d := defaultLimits()
	return []state.Setting{
		state.IntSetting(settingCount, "leases at most", d.count, 1, 100_000_000),
		state.IntSetting(settingBytes, "bytes of all leases at most: their names, holders, metadata and pins", d.bytes, 1<<10, 1<<40),
	}
}

// Configure is part of state.Configurable.
func (t *Table) Configure(value func(name string) string) {
	t.limits = tableLimits{count: state.SettingInt(value(settingCount)), bytes: state.SettingInt(value(settingBytes))}
}

// load is by how much commands would change what the limits count.
type load struct{ count, bytes int64 }

// weighing is a command that changes what the limits count.
type weighing interface {
	// weigh adds its effect, if check allows it, to sum.
	weigh(t *Table, sum *load)
}

// weigh adds the effect of any command to l.
func (t *Table) weigh(c state.Command, l *load) {
	if w, is := c.(weighing); is {
		w.weigh(t, l)
	}
}

// fits returns why the table has no room for a load. A load that makes the table
// smaller always fits.
func (t *Table) fits(l *load) *interrex.Error {
	switch {
	case l.count > 0 && int64(t.rows.Len())+l.count > t.limits.count:
		return interrex.Errorf(interrex.ErrOverloaded, "leases: there are %d, and %s allows %d: release some, or raise it", t.rows.Len(), settingCount, t.limits.count)
	case l.bytes > 0 && t.bytes+l.bytes > t.limits.bytes:
		return interrex.Errorf(interrex.ErrOverloaded, "leases: they have %d bytes, and with %d more they would have more than %s allows, %d: release some, or raise it", t.bytes, l.bytes, settingBytes, t.limits.bytes)
	}
	return nil
}

// Usage is how much of its limits the table uses.
type Usage struct{ Count, MaxCount, Bytes, MaxBytes int64 }

// Usage returns the current usage.
func (t *Table) Usage() Usage {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return Usage{Count: int64(t.rows.Len()), MaxCount: t.limits.count, Bytes: t.bytes, MaxBytes: t.limits.bytes}
}
