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
	ends    map[string]error // why each worker that does not run ended
	changed chan struct{}
}

func newStarts() *Starts {
	return &Starts{last: map[string]error{}, ends: map[string]error{}, changed: make(chan struct{})}
}

func (s *Starts) record(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last[name] = err
	if err == nil {
		delete(s.ends, name)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Last says whether a worker has been started, or has failed to.
func (s *Starts) Last(name string) (tried bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err, tried = s.last[name]
	return tried, err
}

// Down says why a worker that does not run ended, or could not start; nil: it
// runs, or only waits for an input.
func (s *Starts) Down(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.last[name]; err != nil && !errors.Is(err, dependency.ErrMissing) {
		return err
	}
	return s.ends[name]
}

func (s *Starts) ended(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[name] = err
}

// Failed gives the error of a worker whose last start failed for another reason
// than a missing input, nil when there is none; changed is closed at the next
// start of any worker.
func (s *Starts) Failed() (changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.last)) {
		if err := s.last[name]; err != nil && !errors.Is(err, dependency.ErrMissing) {
			return s.changed, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s.changed, nil
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
			if err == nil {
				starts.follow(name, w, m)
			}
		}()
		return start(ctx)
	}
}

// follow counts a start, shows the worker as up until it has ended, and notes
// why it did. The goroutine lives as long as the worker.
func (s *Starts) follow(name string, w worker.Worker, m *agentMetrics) {
	up := func(float64) {}
	if m != nil {
		m.starts.WithLabelValues(name).Inc()
		up = m.up.WithLabelValues(name).Set
	}
	up(1)
	go func() {
		err := w.Wait()
		up(0)
		s.ended(name, err)
	}()
}
