package resource

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/state"
)

// The settings of the table.
const (
	settingData = "resources.max-data"
	// settingReaped has the types of owner whose deletion deletes what they own.
	settingReaped = "resources.owner-deletion"
)

// tableLimits are the limits of the table, which are settings.
type tableLimits struct {
	capacity.Limits
	data   int // bytes of one resource's data
	reaped reaped
}

// MaxLeaseResources is the maximum number of resources that one lease owns.
const MaxLeaseResources = 1024

func defaultLimits() tableLimits {
	return tableLimits{Limits: capacity.NewLimits("resources", capacity.Load{Count: 1_000_000, Bytes: 1 << 30}), data: interrex.MaxData}
}

// Settings is part of state.Configurable.
func (t *Table) Settings() []state.Setting {
	d := defaultLimits()
	return append(d.Settings("their names, owners, metadata and data"),
		state.IntSetting(settingData, "bytes of one resource's data at most", int64(d.data), 1, interrex.MaxData),
		state.Setting{
			Name: settingReaped, About: "owner types whose deletion also deletes what they own: GROUP.KIND, comma separated; none, or * for all",
			Default: noTypes, Check: func(value string) error { _, err := parseReaped(value); return err },
		})
}

// Configure is part of state.Configurable.
func (t *Table) Configure(value func(name string) string) {
	reaped, _ := parseReaped(value(settingReaped)) // checked already
	t.limits.Configure(value)
	t.limits.data, t.limits.reaped = int(state.SettingInt(value(settingData))), reaped
}

// load is by how much commands would change what the limits count.
type load struct {
	changes []capacity.Change
	leases  map[interrex.Key]int // change of the number of resources of each lease
}

// replace counts the replacement of old by next; nil is no resource.
func (l *load) replace(old, next *Record) {
	if old != nil {
		l.change(old, capacity.Load{Count: -1, Bytes: -old.weight()})
		l.add(old.OwnerLease, -1)
	}
	if next != nil {
		l.change(next, capacity.Load{Count: 1, Bytes: next.weight()})
		l.add(next.OwnerLease, 1)
	}
}

// change adds to what is changed of a resource's namespace.
func (l *load) change(r *Record, by capacity.Load) {
	namespace := r.namespace()
	for i := range l.changes {
		if c := &l.changes[i]; c.Namespace == namespace {
			c.Count, c.Bytes = c.Count+by.Count, c.Bytes+by.Bytes
			return
		}
	}
	l.changes = append(l.changes, capacity.Change{Namespace: namespace, Load: by})
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
	if refusal := t.used.Fits(l.changes, t.limits.Limits); refusal != nil {
		return refusal
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
