// Package capacity owns the limits of a replicated table in number and bytes: of all that
// it has, and of what each namespace has.
package capacity

import (
	"github.com/interrex/interrex"
	"github.com/interrex/interrex/state"
)

// Load is a number of things with their bytes, or by how much commands change both.
type Load struct{ Count, Bytes int64 }

func (l Load) plus(o Load) Load { return Load{l.Count + o.Count, l.Bytes + o.Bytes} }

// minus returns l without o.
func (l Load) minus(o Load) Load { return Load{l.Count - o.Count, l.Bytes - o.Bytes} }

// Change is by how much commands change what a namespace has.
type Change struct {
	Namespace string // as users write it
	Load
}

// Limits are the limits of a table, which are settings.
type Limits struct {
	Load
	what         string // such as leases
	count, bytes string // the names of the settings
}

// NewLimits returns the limits of the things that a table is named after.
func NewLimits(what string, defaults Load) Limits {
	return Limits{Load: defaults, what: what, count: what + ".max-count", bytes: what + ".max-bytes"}
}

// Settings returns the settings; of is what the bytes are of.
func (l Limits) Settings(of string) []state.Setting {
	return []state.Setting{
		state.IntSetting(l.count, l.what+" at most; one namespace may have nine tenths of them", l.Count, 1, 100_000_000),
		state.IntSetting(l.bytes, "bytes of all "+l.what+" at most: "+of+"; one namespace may have nine tenths", l.Bytes, 1<<10, 1<<40),
	}
}

// Configure sets the limits to the values of their settings.
func (l *Limits) Configure(value func(name string) string) {
	l.Load = Load{state.SettingInt(value(l.count)), state.SettingInt(value(l.bytes))}
}

// share returns what one namespace may have: so a caller that may write only to some of
// them leaves room for the others.
func (l Limits) share() Load { return l.minus(Load{l.Count / 10, l.Bytes / 10}) }

// Used is what a table has. The zero value is nothing.
type Used struct {
	all        Load
	namespaces map[string]Load
}

// Add changes what a namespace has.
func (u *Used) Add(namespace string, by Load) {
	if by == (Load{}) {
		return
	}
	if u.namespaces == nil {
		u.namespaces = map[string]Load{}
	}
	u.all = u.all.plus(by)
	if now := u.namespaces[namespace].plus(by); now != (Load{}) {
		u.namespaces[namespace] = now
		return
	}
	delete(u.namespaces, namespace)
}

// Fits returns why there is no room for changes. What makes the table, or what a
// namespace has, smaller always fits.
func (u *Used) Fits(changes []Change, most Limits) *interrex.Error {
	var all Load
	for _, c := range changes {
		all = all.plus(c.Load)
	}
	switch over := exceeds(u.all, all, most.Load); {
	case over.Count:
		return interrex.Errorf(interrex.ErrOverloaded, "%s: there are %d, and %s allows %d: delete some, or raise it", most.what, u.all.Count, most.count, most.Count)
	case over.Bytes:
		return interrex.Errorf(interrex.ErrOverloaded, "%s: they have %d bytes, and with %d more they would have more than %s allows, %d: delete some, or raise it", most.what, u.all.Bytes, all.Bytes, most.bytes, most.Bytes)
	}
	for _, c := range changes {
		if refusal := u.fitsOne(changes, c.Namespace, most); refusal != nil {
			return refusal
		}
	}
	return nil
}

// fitsOne is Fits for what one namespace has.
func (u *Used) fitsOne(changes []Change, namespace string, most Limits) *interrex.Error {
	var by Load
	for _, c := range changes {
		if c.Namespace == namespace {
			by = by.plus(c.Load)
		}
	}
	has, share := u.namespaces[namespace], most.share()
	switch over := exceeds(has, by, share); {
	case over.Count:
		return interrex.Errorf(interrex.ErrOverloaded, "%s: namespace %s has %d, and may have %d, nine tenths of %s: delete some, or raise it", most.what, namespace, has.Count, share.Count, most.count)
	case over.Bytes:
		return interrex.Errorf(interrex.ErrOverloaded, "%s: those of namespace %s have %d bytes, and with %d more they would have more than nine tenths of %s, %d: delete some, or raise it", most.what, namespace, has.Bytes, by.Bytes, most.bytes, share.Bytes)
	}
	return nil
}

// measures are those of a Load.
type measures struct{ Count, Bytes bool }

// exceeds reports in which measures a load that grows is beyond a limit.
func exceeds(has, by, most Load) measures {
	return measures{
		Count: by.Count > 0 && has.Count+by.Count > most.Count,
		Bytes: by.Bytes > 0 && has.Bytes+by.Bytes > most.Bytes,
	}
}

// Usage is how much of its limits a table uses.
type Usage struct{ Count, MaxCount, Bytes, MaxBytes int64 }

// Usage returns the present usage.
func (u *Used) Usage(most Limits) Usage {
	return Usage{Count: u.all.Count, MaxCount: most.Count, Bytes: u.all.Bytes, MaxBytes: most.Bytes}
}
