package manifolds

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
)

// Starts remembers how the last start of each worker ended, and tells who
// waits for one. The engine's own report is polled; this is not.
type Starts struct {
	mu      sync.Mutex
	last    map[string]error
	changed chan struct{}
}

func newStarts() *Starts {
	return &Starts{last: map[string]error{}, changed: make(chan struct{})}
}

func (s *Starts) record(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[name] = err
	close(s.changed)
	s.changed = make(chan struct{})
}

// Last says whether a worker has been started, or has failed to; changed is
// closed at the next start of any worker.
func (s *Starts) Last(name string) (tried bool, err error, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err, tried = s.last[name]
	return tried, err, s.changed
}

// Failed gives the error of a worker whose last start failed for another reason
// than a missing input, nil when there is none; changed as Last's.
func (s *Starts) Failed() (err error, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.last)) {
		if err := s.last[name]; err != nil && !errors.Is(err, dependency.ErrMissing) {
			return fmt.Errorf("%s: %w", name, err), s.changed
		}
	}
	return nil, s.changed
}

// guard makes a panic in a StartFunc an error of the worker (the engine has no
// guard of its own there), and records how each start ended.
// Metrics of each worker's life are kept in m; nil: nowhere.
func guard(name string, start dependency.StartFunc, starts *Starts, m *agentMetrics) dependency.StartFunc {
	return func(ctx dependency.Context) (w worker.Worker, err error) {
		defer func() {
			if p := recover(); p != nil {
				w, err = nil, fmt.Errorf("panic in the start of %s: %v\n%s", name, p, debug.Stack())
			}
			starts.record(name, err)
			if err == nil && m != nil {
				m.alive(name, w)
			}
		}()
		return start(ctx)
	}
}

// alive counts a start, and shows the worker as up until it has ended. The
// goroutine lives as long as the worker.
func (m *agentMetrics) alive(name string, w worker.Worker) {
	m.starts.WithLabelValues(name).Inc()
	up := m.up.WithLabelValues(name)
	up.Set(1)
	go func() {
		_ = w.Wait()
		up.Set(0)
	}()
}
