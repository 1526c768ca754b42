package hold

import (
	"time"

	"golang.org/x/sys/unix"
)

// SystemClock is CLOCK_BOOTTIME, which goes on while the machine sleeps; on
// systems that have none, or forbid it, the monotonic clock.
func SystemClock() Clock {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return monotonic{time.Now()}
	}
	return boottime{}
}

type boottime struct{}

// Now cannot fail: SystemClock has asked once.
func (boottime) Now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}
