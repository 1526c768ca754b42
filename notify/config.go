package notify

import (
	"errors"
	"fmt"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// The default times of a worker.
const (
	defaultPause         = 50 * time.Millisecond
	defaultLook          = 5 * time.Second
	defaultMinRetry      = 200 * time.Millisecond
	defaultMaxRetry      = 30 * time.Second
	defaultNotifyTimeout = 30 * time.Second
	defaultMendTimeout   = 10 * time.Minute
)

// source supplies the events. It is a *watch.Ring.
type source interface {
	Watch(since interrex.Revision, scope interest.Scope, match func(*state.Event) bool) (*watch.Watcher, error)
}

// leases lists the existing leases, in the order of their keys. It is a
// *lease.Table.
type leases interface {
	List(namespace, prefix string, after interrex.Key, limit int) (items []lease.Record, more bool)
}

// replicated is the state that the leases are in. It is a *machine.State.
type replicated interface {
	Revision() interrex.Revision
	Identity() machine.Identity
}

// config is what a Worker is made of.
type config struct {
	Source source
	Leases leases
	State  replicated
	Target Target
	Clock  clock.Clock
	Logger interrex.Logger // nil: none
	// Failed is called at each failure of the target. It must not block. May be
	// nil.
	Failed func()

	// Pause is the minimum time between two notifications: what happens in between
	// is sent together. It is longer under load. The first event after a quiet time
	// is sent at once. 0: 50 ms.
	Pause time.Duration
	// Look is how often the worker checks, while nothing happens, that the target
	// still exists and is at its last position. 0: 5 s.
	Look time.Duration
	// MinRetry is the delay before the first retry; it doubles with each
	// consecutive failure, up to MaxRetry. 0: 200 ms and 30 s.
	MinRetry, MaxRetry time.Duration
	// NotifyTimeout bounds each call of the target except Replace, which
	// MendTimeout bounds. 0: 30 s and 10 min.
	NotifyTimeout, MendTimeout time.Duration
}

// Validate returns an error that names the field that is not valid.
func (c config) Validate() error {
	switch {
	case c.Source == nil:
		return errors.New("nil Source not valid")
	case c.Leases == nil:
		return errors.New("nil Leases not valid")
	case c.State == nil:
		return errors.New("nil State not valid")
	case c.Target == nil:
		return errors.New("nil Target not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	}
	for name, d := range map[string]time.Duration{
		"Pause": c.Pause, "Look": c.Look, "MinRetry": c.MinRetry, "MaxRetry": c.MaxRetry,
		"NotifyTimeout": c.NotifyTimeout, "MendTimeout": c.MendTimeout,
	} {
		if d < 0 {
			return fmt.Errorf("negative %s not valid", name)
		}
	}
	return nil
}

func (c config) withDefaults() config {
	or := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	or(&c.Pause, defaultPause)
	or(&c.Look, defaultLook)
	or(&c.MinRetry, defaultMinRetry)
	or(&c.MaxRetry, defaultMaxRetry)
	or(&c.NotifyTimeout, defaultNotifyTimeout)
	or(&c.MendTimeout, defaultMendTimeout)
	c.MaxRetry = max(c.MaxRetry, c.MinRetry)
	if c.Logger == nil {
		c.Logger = silent.Logger{}
	}
	if c.Failed == nil {
		c.Failed = func() {}
	}
	return c
}
