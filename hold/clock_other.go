//go:build !linux

package hold

import "time"

// SystemClock is the monotonic clock: it stands still while the machine
// sleeps.
func SystemClock() Clock { return Since(time.Now()) }
