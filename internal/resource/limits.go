package resource

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// The settings of the table.
const (
	settingData  = "resources.max-data"
	settingCount = "resources.max-count"
	settingBytes = "resources.max-bytes"
	// settingReaped is the owner deletion of each type.
	settingReaped = "resources.owner-deletion"
)

// limits are the limits of the table, which are settings.
type limits struct {
	data  int   // bytes of one resource's data
	count int64 // resources
	bytes int64 // of all resources, as Record.weight counts them

	reaped reaped
}

// MaxLeaseResources is how many resources one lease owns at most.
const MaxLeaseResources = 1024

func defaultLimits() limits {
	return limits{data: interrex.MaxData, count: 1_000_000, bytes: 1 << 30}
}

// Settings is part of state.Configurable.
func (t *Table) Settings() []state.Setting {
	d := defaultLimits()
	return []state.Setting{
		state.IntSetting(settingData, "bytes of one resource's data at most", int64(d.data), 1, interrex.MaxData),
		state.IntSetting(settingCount, "resources at most", d.count, 1, 100_000_000),
		state.IntSetting(settingBytes, "bytes of all resources at most: their names, metadata and data", d.bytes, 1<<10, 1<<40),
		{
			Name: settingReaped, About: "types of owner, GROUP.KIND with commas, with which goes what they own; none or *",
			Default: noTypes, Check: func(value string) error { _, err := parseReaped(value); return err },
		},
	}
}

// Configure is part of state.Configurable.
func (t *Table) Configure(value func(name string) string) {
	reaped, _ := parseReaped(value(settingReaped)) // it has been checked
	t.limits = limits{
		reaped: reaped,
		data:   int(state.SettingInt(value(settingData))),
		count:  state.SettingInt(value(settingCount)),
		bytes:  state.SettingInt(value(settingBytes)),
	}
}

// load is what commands would change.
type load struct {
	count, bytes int64
	leases       map[interrex.Key]int // resources that would come to each lease, less those that would leave it
}

// replace counts one resource in place of another; nil: none.
func (l *load) replace(old, fresh *Record) {
	if old != nil {
		l.count--
		l.bytes -= old.weight()
		l.add(old.OwnerLease, -1)
	}
	if fresh != nil {
		l.count++
		l.bytes += fresh.weight()
		l.add(fresh.OwnerLease, 1)
	}
}

// add counts what comes to a lease; nil: none.
func (l *load) add(lease *interrex.Fence, n int) {
	if lease == nil {
		return
	}
	if l.leases == nil {
		l.leases = map[interrex.Key]int{}
	}
	l.leases[lease.Key] += n
}

// fits returns why the table has no room for a load. What makes the table
// smaller always has.
func (t *Table) fits(l *load) *interrex.Error {
	switch {
	case l.count > 0 && int64(t.rows.Len())+l.count > t.limits.count:
		return interrex.Errorf(interrex.KindOverloaded, "resources: there are %d, and %s allows %d: delete some, or raise it", t.rows.Len(), settingCount, t.limits.count)
	case l.bytes > 0 && t.bytes+l.bytes > t.limits.bytes:
		return interrex.Errorf(interrex.KindOverloaded, "resources: they have %d bytes, and with %d more they would have more than %s allows, %d: delete some, or raise it", t.bytes, l.bytes, settingBytes, t.limits.bytes)
	}
	for _, key := range sortedKeys(l.leases) {
		if n := t.presence.count(key); l.leases[key] > 0 && n+l.leases[key] > MaxLeaseResources {
			return interrex.Errorf(interrex.KindConflict, "owner_lease: %s owns %d resources, and %d is the most: delete one, or use another lease", key, n, MaxLeaseResources)
		}
	}
	return nil
}

func errData(n, most int) *interrex.Error {
	e := interrex.Errorf(interrex.KindTooLarge, "data: at most %d bytes are allowed, not %d", most, n)
	if most < interrex.MaxData {
		e.Message += ": the setting " + settingData + " says so"
	}
	return e
}
