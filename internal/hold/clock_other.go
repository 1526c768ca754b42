//go:build !linux

package hold

import "time"

// SystemClock returns the monotonic clock. It stops while the machine sleeps, so
// after a sleep a holder believes too long that it holds the lease, and only the
// token protects.
func SystemClock() Clock { return monotonic{time.Now()} }
