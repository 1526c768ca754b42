package hold

import (
	"time"

	"github.com/interrex/interrex"
)

// Clock is the clock by which a holder keeps its deadlines.
type Clock = interrex.Clock

// monotonic is Go's clock, which stops while the machine sleeps.
type monotonic struct{ start time.Time }

// Since returns a clock that counts from start by Go's clock, which stops while the
// machine sleeps: for tests.
func Since(start time.Time) Clock { return monotonic{start} }

func (c monotonic) Now() time.Duration { return time.Since(c.start) }
