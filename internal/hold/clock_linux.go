package hold

import (
	"time"

	"golang.org/x/sys/unix"
)

// SystemClock returns CLOCK_BOOTTIME, which continues while the machine sleeps, or
// CLOCK_MONOTONIC on systems that lack or forbid it. It is the same for all processes
// of a machine.
func SystemClock() Clock { return kernelClock(kernelClockOf(unix.ClockGettime)) }

// kernelClockOf returns the first of those clocks that can be read.
func kernelClockOf(read func(id int32, now *unix.Timespec) error) int32 {
	if read(unix.CLOCK_BOOTTIME, new(unix.Timespec)) != nil {
		return unix.CLOCK_MONOTONIC
	}
	return unix.CLOCK_BOOTTIME
}

// kernelClock is the id of a clock that can be read.
type kernelClock int32

// Now cannot fail: see kernelClockOf.
func (c kernelClock) Now() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(int32(c), &now)
	return time.Duration(now.Nano())
}
