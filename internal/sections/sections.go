// Package sections owns an agent's configuration while it runs: a reload replaces it as
// a whole, and the workers of the sections that have changed are restarted.
package sections

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/unit"
)

// Sections are the configuration: read by the workers of its sections, swapped whole
// by a reload.
type Sections struct {
	mu      sync.Mutex
	current *version
}

// version is one of the configurations that follow each other.
type version struct {
	config  config.Config
	changed chan struct{} // closed when next is set
	next    *version
}

// New returns the sections of a configuration.
func New(c config.Config) *Sections {
	return &Sections{current: newVersion(c)}
}

func newVersion(c config.Config) *version {
	return &version{config: c, changed: make(chan struct{})}
}

// Current returns the configuration, and a channel that is closed when it has
// changed.
func (c *Sections) Current() (config.Config, <-chan struct{}) {
	v := c.version()
	return v.config, v.changed
}

func (c *Sections) version() *version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// Swap makes next, which must be valid, the configuration, and returns the names of
// the sections that differ.
func (c *Sections) Swap(next config.Config) (changed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old, now := reflect.ValueOf(c.current.config), reflect.ValueOf(next)
	for i := range old.NumField() {
		if !reflect.DeepEqual(old.Field(i).Interface(), now.Field(i).Interface()) {
			changed = append(changed, old.Type().Field(i).Tag.Get("yaml"))
		}
	}
	last := c.current
	c.current = newVersion(next)
	last.next = c.current
	close(last.changed)
	return changed
}

// Node is the line of a worker that provides a T, which pick takes from the whole, and ends when that
// has changed. pick leaves out what its users apply without a restart.
func Node[T any](c *Sections, pick func(config.Config) T) unit.Node {
	return unit.Node{
		Start: func(u *unit.Unit) (worker.Worker, error) {
			at := c.version()
			value := pick(at.config)
			u.Give(value)
			u.ReportBy(func() map[string]any { return map[string]any{"value": fmt.Sprintf("%+v", value)} })
			return unit.Run(func(ctx context.Context) error {
				at.until(ctx, func(c config.Config) bool { return !reflect.DeepEqual(pick(c), value) })
				return nil
			}), nil
		},
	}
}

// until looks at each configuration that follows, and reports whether one differs
// before ctx ends: a part that changes and changes back ends its worker too, so every
// reload that changes it restarts its users.
func (v *version) until(ctx context.Context, differs func(config.Config) bool) (changed bool) {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-v.changed:
		}
		if v = v.next; differs(v.config) {
			return true
		}
	}
}
