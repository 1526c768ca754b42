package queue

import (
	"errors"
	"time"

	"github.com/juju/clock"
)

// Capacity is how many operations may wait in each lane. It applies to each lane, so
// that a flood of claims leaves room for extends.
const Capacity = 65536

// laneBytes is the maximum size of a lane's operations together.
const laneBytes = 64 << 20

// Timeout returns after how long an operation without a deadline is answered with
// ErrDeadlineExceeded: 5 s if it is an extend, else 3 s.
func Timeout(extend bool) time.Duration {
	if extend {
		return 5 * time.Second
	}
	return 3 * time.Second
}

// Config is the configuration of a Queue.
type Config struct {
	Clock clock.Clock
	// Full returns why almost no disk space is left; nil: there is enough. Meanwhile only
	// extends, and operations whose state.About says Spare, are let in; the others are
	// answered with that error. It must not block, and is called with each operation.
	// Optional.
	Full func() error
}

// Validate returns an error for the first field that is missing.
func (c Config) Validate() error {
	if c.Clock == nil {
		return errors.New("nil Clock not valid")
	}
	return nil
}
