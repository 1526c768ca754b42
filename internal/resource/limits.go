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
	// settingReaped has the types of owner whose deletion deletes what they own.
	settingReaped = "resources.owner-deletion"
)

// tableLimits are the limits of the table, which are settings.
type tableLimits struct {
	data  int   // bytes of one resource's data
	count int64 // resources
	bytes int64 // of all resources, as Record.weight counts them

	reaped reaped
}

// MaxLeaseResources is the maximum number of resources that one lease owns.
const MaxLeaseResources = 1024

func defaultLimits() tableLimits {
	return tableLimits{data: interrex.MaxData, count: 1_000_000, bytes: 1 << 30}
}

// Settings is part of state.Configurable.
func (t *Table) Settings() []state.Setting {
	d := defaultLimits()
	return []state.Setting{
		state.IntSetting(settingData, "bytes of one resource's data at most", int64(d.data), 1, interrex.MaxData),
		state.IntSetting(settingCount, "resources at most", d.count, 1, 100_000_000),
		state.IntSetting(settingBytes, "bytes of all resources at most: their names, metadata and data", d.bytes, 1<<10, 1<<40),
		{
			Name: settingReaped, About: "owner types whose deletion also deletes what they own: GROUP.KIND, comma separated; none, or * for all",
			Default: noTypes, Check: func(value string) error { _, err := parseReaped(value); return err },
		},
	}
}

// Configure is part of state.Configurable.
func (t *Table) Configure(value func(name string) string) {
	reaped, _ := parseReaped(value(settingReaped)) // checked already
	t.limits = tableLimits{
		reaped: reaped,
		data:   int(state.SettingInt(value(settingData))),
		count:  state.SettingInt(value(settingCount)),
		bytes:  state.SettingInt(value(settingBytes)),
	}
}

// load is by how much commands would change what the limits count.
type load struct {
	count, bytes int64
	leases       map[interrex.Key]int // change of the number of resources of each lease
}

// replace counts the replacement of old by next; nil is no resource.
func (l *load) replace(old, next *Record) {
	if old != nil {
		l.count--
		l.bytes -= old.weight()
		l.add(old.OwnerLease, -1)
	}
	if next != nil {
		l.count++
		l.bytes += next.weight()
		l.add(next.OwnerLease, 1)
	}
}

// add adds n to the resources of a lease, which may be nil.
func (l *load) add(lease *interrex.Fence, n int) {
	if lease == nil {
		return
	}
	if l.leases == nil {
		l.leases = map[interrex.Key]int{}
	}
	l.leases[lease.Key] += n
}

// fits returns why the table has no room for a load. A load that makes the table
// smaller always fits.
func (t *Table) fits(l *load) *interrex.Error {
	switch {
	case l.count > 0 && int64(t.rows.Len())+l.count > t.limits.count:
		return interrex.Errorf(interrex.ErrOverloaded, "resources: there are %d, and %s allows %d: delete some, or raise it", t.rows.Len(), settingCount, t.limits.count)
	case l.bytes > 0 && t.bytes+l.bytes > t.limits.bytes:
		return interrex.Errorf(interrex.ErrOverloaded, "resources: they have %d bytes, and with %d more they would have more than %s allows, %d: delete some, or raise it", t.bytes, l.bytes, settingBytes, t.limits.bytes)
	}
	for _, key := range sortedKeys(l.leases) {
		if n := t.presence.count(key); l.leases[key] > 0 && n+l.leases[key] > MaxLeaseResources {
			return interrex.Errorf(interrex.ErrConflict, "owner_lease: %s owns %d resources, and %d is the limit: delete one, or use another lease", key, n, MaxLeaseResources)
		}
	}
	return nil
}

func errData(n, most int) *interrex.Error {
	e := interrex.Errorf(interrex.ErrTooLarge, "data: at most %d bytes are allowed, not %d", most, n)
	if most < interrex.MaxData {
		e.Message += ": this is the setting " + settingData
	}
	return e
}
