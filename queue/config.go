package queue

import (
	"time"

	"github.com/juju/clock"
	"github.com/juju/errors"

	"github.com/interrex/interrex/state"
)

// Defaults of a Config, and what an operation without a deadline gets.
const (
	DefaultCapacity = 65536    // operations a lane
	DefaultBytes    = 64 << 20 // bytes a lane
	EnqueueTimeout  = 3 * time.Second
	ExtendTimeout   = 5 * time.Second // of state.LaneExtend
)

// Config says what a Queue may hold.
type Config struct {
	Clock clock.Clock
	// Capacity is how many operations may wait in each lane; 0:
	// DefaultCapacity. Each lane has its own, so that a flood of claims leaves
	// room for extends.
	Capacity int
	// Bytes is how many bytes they may have; 0: DefaultBytes.
	Bytes int
	// Timeout is the deadline of an operation that has none; 0: EnqueueTimeout.
	Timeout time.Duration
	// ExtendTimeout is the same for state.LaneExtend; 0: ExtendTimeout.
	ExtendTimeout time.Duration
}

// Validate says which field cannot be used, as a juju NotValid error.
func (c Config) Validate() error {
	switch {
	case c.Clock == nil:
		return errors.NotValidf("nil Clock")
	case c.Capacity < 0:
		return errors.NotValidf("negative Capacity")
	case c.Bytes < 0:
		return errors.NotValidf("negative Bytes")
	case c.Timeout < 0:
		return errors.NotValidf("negative Timeout")
	case c.ExtendTimeout < 0:
		return errors.NotValidf("negative ExtendTimeout")
	}
	return nil
}

func (c *Config) setDefaults() {
	if c.Capacity == 0 {
		c.Capacity = DefaultCapacity
	}
	if c.Bytes == 0 {
		c.Bytes = DefaultBytes
	}
	if c.Timeout == 0 {
		c.Timeout = EnqueueTimeout
	}
	if c.ExtendTimeout == 0 {
		c.ExtendTimeout = ExtendTimeout
	}
}

// timeout returns the default deadline's distance in a lane.
func (c *Config) timeout(l state.Lane) time.Duration {
	if l == state.LaneExtend {
		return c.ExtendTimeout
	}
	return c.Timeout
}
