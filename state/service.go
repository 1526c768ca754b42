package state

import (
	"time"

	"github.com/interrex/interrex"
)

// State is what a table's service may read of the replicated state, beside its own
// table.
type State interface {
	// Revision returns the revision of the last change that was applied here.
	Revision() interrex.Revision
	// Now returns the cluster time of the last entry that was applied here.
	Now() Time
	// Estimate returns an estimate of the present cluster time, and this agent's wall
	// clock. It is for display only: what ends by time is ended by the log.
	Estimate() (now Time, wall time.Time)
}
