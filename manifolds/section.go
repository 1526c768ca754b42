package manifolds

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/config"
)

// Configuration is an agent's configuration while it runs: read by the workers
// of its sections, swapped whole by a reload.
type Configuration struct {
	mu      sync.Mutex
	current *version
}

// version is one configuration of those that follow each other.
type version struct {
	config  config.Config
	changed chan struct{} // closed when next is set
	next    *version
}

func newConfiguration(c config.Config) *Configuration {
	return &Configuration{current: newVersion(c)}
}

func newVersion(c config.Config) *version {
	return &version{config: c, changed: make(chan struct{})}
}

// Current returns the configuration, and a channel that is closed when it has
// changed.
func (c *Configuration) Current() (config.Config, <-chan struct{}) {
	v := c.version()
	return v.config, v.changed
}

func (c *Configuration) version() *version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// Swap takes up a validated configuration and names the sections that differ.
func (c *Configuration) Swap(next config.Config) (changed []string) {
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

// errChanged ends a worker whose truth has changed.
var errChanged = errors.New("changed")

// bounceWhenChanged turns the end of such a worker into the engine's word.
func bounceWhenChanged(err error) error {
	if errors.Is(err, errChanged) {
		return dependency.ErrBounce
	}
	return err
}

// section is a worker whose life is one value of a part of the configuration.
type section[T any] struct {
	tomb  tomb.Tomb
	value T
}

// sectionManifold returns a *T; pick takes the part from the whole. It leaves
// out what its users take up without being restarted.
func sectionManifold[T any](c *Configuration, pick func(config.Config) T) dependency.Manifold {
	return dependency.Manifold{
		Start: func(dependency.Context) (worker.Worker, error) {
			current := c.version()
			s := &section[T]{value: pick(current.config)}
			s.tomb.Go(func() error { return s.loop(pick, current) })
			return s, nil
		},
		Output: func(in worker.Worker, out any) error {
			p, ok := out.(*T)
			if !ok {
				return fmt.Errorf("expected output of %T, got %T", p, out)
			}
			*p = in.(*section[T]).value
			return nil
		},
		Filter: bounceWhenChanged,
	}
}

// loop looks at each configuration that follows: a part that changes and changes
// back ends the worker too, so every reload that changes it restarts its users.
func (s *section[T]) loop(pick func(config.Config) T, at *version) error {
	for {
		select {
		case <-s.tomb.Dying():
			return tomb.ErrDying
		case <-at.changed:
		}
		if at = at.next; !reflect.DeepEqual(pick(at.config), s.value) {
			return errChanged
		}
	}
}

// Kill ends the worker.
func (s *section[T]) Kill() { s.tomb.Kill(nil) }

// Wait returns errChanged when the value has changed.
func (s *section[T]) Wait() error { return s.tomb.Wait() }

// Report shows the value.
func (s *section[T]) Report() map[string]any {
	return map[string]any{"value": fmt.Sprintf("%+v", s.value)}
}

// errOff is why a worker of a feature that is switched off does not run.
var errOff = fmt.Errorf("off by configuration: %w", dependency.ErrMissing)
