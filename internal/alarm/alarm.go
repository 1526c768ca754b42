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
	// Look says what is wrong now; nothing when all is well. It is called by one
	// goroutine, once a second, and should not block.
	Look func(now time.Time) []Finding
	// Unknown reports whether nothing can be told now: then Look is not called,
	// and what was found last goes on. Nil: it can always be told.
	Unknown func() bool
	// After is how long it has to be wrong before it is an alarm.
	After time.Duration
	// Keep is how long it has to be well before the alarm is over: what fails,
	// is started again and fails again is one alarm.
	Keep time.Duration
}

// Finding is what a Look has found.
type Finding struct {
	Subject string // tells findings of one condition apart
	Text    string
	Since   time.Time // zero: since the first look that found it
}

// Found makes the one finding of a condition without subjects.
func Found(text string) []Finding { return []Finding{{Text: text}} }

// key tells alarms apart.
type key struct{ name, subject string }

func compare(a, b interrex.Alarm) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Subject, b.Subject))
}

// sorted returns alarms by name and subject.
func sorted(all []interrex.Alarm) []interrex.Alarm {
	slices.SortFunc(all, compare)
	return all
}
