package interrex

import "time"

// Clock is the clock by which a holder keeps its deadlines.
type Clock interface {
	// Now is the time since some fixed moment. It never goes back, and should
	// go on while the machine sleeps.
	Now() time.Duration
}
