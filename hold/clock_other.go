//go:build !linux

package hold

import "time"

// SystemClock is the monotonic clock: it stands still while the machine
// sleeps, so a holder that slept believes too long, and the token alone
// protects.
func SystemClock() Clock { return monotonic{time.Now()} }

// monotonic is Go's own clock.
type monotonic struct{ start time.Time }

func (c monotonic) Now() time.Duration { return time.Since(c.start) }
