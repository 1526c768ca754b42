//go:build !linux

package hold

import "time"

// SystemClock is the monotonic clock: it stands still while the machine
// sleeps, so a holder that slept believes too long, and the token alone
// protects.
func SystemClock() Clock { return monotonic{time.Now()} }
