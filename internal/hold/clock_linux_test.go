package hold_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/internal/hold"
)

// kernel has clocks as Linux does. One that is missing cannot be read.
type kernel map[int32]time.Duration

func (k kernel) read(id int32, now *unix.Timespec) error {
	at, there := k[id]
	if !there {
		return unix.EINVAL
	}
	*now = unix.NsecToTimespec(int64(at))
	return nil
}

// sleep is a machine that sleeps: all of its clocks stop except these.
func (k kernel) sleep(d time.Duration) {
	k[unix.CLOCK_BOOTTIME] += d
	k[unix.CLOCK_REALTIME] += d
}

// step sets the time of day.
func (k kernel) step(d time.Duration) { k[unix.CLOCK_REALTIME] += d }

func TestTheSystemsClockCountsHowLongTheMachineSleeps(t *testing.T) {
	k := kernel{unix.CLOCK_BOOTTIME: 5 * time.Second, unix.CLOCK_MONOTONIC: 3 * time.Second, unix.CLOCK_REALTIME: time.Hour}
	id := hold.KernelClockOf(k.read)
	began := k[id]
	k.sleep(time.Minute)
	k.step(-time.Second)
	if slept := k[id] - began; slept != time.Minute {
		t.Errorf("the machine slept for a minute, and clock %d has gone on by %s", id, slept)
	}
}

func TestASystemWithoutThatClockHasTheMonotonicOne(t *testing.T) {
	k := kernel{unix.CLOCK_MONOTONIC: 3 * time.Second, unix.CLOCK_REALTIME: time.Hour}
	if id := hold.KernelClockOf(k.read); id != unix.CLOCK_MONOTONIC {
		t.Errorf("it has clock %d", id)
	}
}

func TestTheSystemsClockIsThatOfAllProcesses(t *testing.T) {
	var before, after unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &before); err != nil {
		t.Fatal(err)
	}
	now := hold.SystemClock().Now()
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &after)
	if now < time.Duration(before.Nano()) || now > time.Duration(after.Nano()) {
		t.Errorf("it is %s, and the kernel's is %s to %s", now, time.Duration(before.Nano()), time.Duration(after.Nano()))
	}
}
