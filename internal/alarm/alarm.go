// Package alarm owns the list of what is wrong with an agent now. Status, the
// readiness probe, the metric, the engine's report and the log all show this one
// list.
package alarm

import (
	"cmp"
	"slices"
	"time"

	"github.com/interrex/interrex"
)

// Condition is one thing that can be wrong.
type Condition struct {
	Name string
	Do   string // what an operator does about it
	// Look returns what is wrong now; nil if nothing is. It is called by one
	// goroutine, once a second, and should not block.
	Look func(now time.Time) []Finding
	// Unknown reports whether the condition cannot be checked now: then Look is not
	// called, and the last findings still apply. Nil: it can always be checked.
	Unknown func() bool
	// After is how long a finding must last before it raises an alarm.
	After time.Duration
	// Keep is how long a finding must be absent before the alarm is over: a worker
	// that fails, is restarted and fails again raises one alarm.
	Keep time.Duration
}

// Finding is something wrong that a Look has found.
type Finding struct {
	Subject string // distinguishes findings of one condition
	Text    string
	Since   time.Time // zero: when a Look first found it
}

// Found returns the one finding of a condition without subjects.
func Found(text string) []Finding { return []Finding{{Text: text}} }

// key identifies an alarm.
type key struct{ name, subject string }

func compare(a, b interrex.Alarm) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Subject, b.Subject))
}

// sorted returns alarms by name and subject.
func sorted(all []interrex.Alarm) []interrex.Alarm {
	slices.SortFunc(all, compare)
	return all
}
