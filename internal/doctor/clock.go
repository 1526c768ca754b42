package doctor

import (
	"math"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/internal/wording"
)

// The rate of a clock, in millionths. The holder of a lease and the leader may differ
// by 5 %, so that each of them has half of it. A kernel that follows a time server
// corrects by at most 500.
const (
	usualRate = 500
	mostRate  = 25_000
)

// slewNotice is how far a clock may still have to go before it is worth a look.
const slewNotice = 100 * time.Millisecond

// The kernel's units: a tick is nominally 10 000 µs, Freq has 16 bits of fraction.
const (
	nominalTick = 10_000
	tickRate    = 100 // millionths for each microsecond of a tick
	freqUnit    = 1 << 16
)

// adjOffsetRead only reads what remains of an adjtime(3).
const adjOffsetRead = 0xa001

// clock reports how the kernel runs the clock.
func clock() []Finding {
	var now, single unix.Timex
	state, err := unix.Adjtimex(&now)
	if err != nil {
		return []Finding{found("clock", Warn, "see 'chronyc tracking' or 'timedatectl'", "the kernel does not say how it runs the clock: %v", err)}
	}
	single.Modes = adjOffsetRead
	if _, err := unix.Adjtimex(&single); err != nil {
		single.Offset = 0
	}
	return []Finding{rate(now), slewing(now, single, state)}
}

// rate reports by how much the clock is made to run fast or slow.
func rate(now unix.Timex) Finding {
	ppm := float64(now.Freq)/freqUnit + float64(now.Tick-nominalTick)*tickRate
	level := OK
	switch size := math.Abs(ppm); {
	case size > mostRate:
		level = Fail
	case size > usualRate:
		level = Warn
	}
	if level == OK {
		return ok("clock-rate", "corrected by %+.1f ppm; leases allow clocks that differ by 5 %%", ppm)
	}
	return found("clock-rate", level, "find out what sets the rate ('adjtimex --print', 'chronyc tracking'), and let one time service do it",
		"corrected by %+.0f ppm, usual are 500: a holder and the leader may differ by 5 %%, which is 50 000 ppm, before two can hold one lease", ppm)
}

// slewing reports whether the clock is synchronised, and how far it is still off.
func slewing(now, single unix.Timex, state int) Finding {
	unit := time.Microsecond
	if now.Status&unix.STA_NANO != 0 {
		unit = time.Nanosecond
	}
	off := max(time.Duration(math.Abs(float64(now.Offset)))*unit, time.Duration(math.Abs(float64(single.Offset)))*time.Microsecond)
	switch {
	case state == unix.TIME_ERROR || now.Status&unix.STA_UNSYNC != 0:
		return found("clock-sync", Warn, "run a time service, such as chrony; one that does not tell the kernel is not seen here",
			"not synchronised, as far as the kernel knows: leases do not depend on it, but the times that are shown and the validity of certificates do")
	case off > slewNotice:
		return found("clock-sync", Warn, "wait until the time service has finished; leases go on meanwhile",
			"synchronised, and %s off: the clock runs faster or slower until it is right", wording.Rounded(off))
	}
	return ok("clock-sync", "synchronised, %s off", wording.Rounded(off))
}
