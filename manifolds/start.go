package manifolds

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
)

// Starts remembers how the last start of each worker ended, and tells who
// waits for one. The engine's own report is polled; this is not.
type Starts struct {
	mu      sync.Mutex
	last    map[string]error
	ends    map[string]error // why each worker that does not run ended
	lives   map[string]life  // of each worker that was started
	changed chan struct{}
}

// life is the newest one of a worker.
type life struct {
	worker worker.Worker // nil: it has ended
	starts int
	began  time.Time
}

func newStarts() *Starts {
	return &Starts{last: map[string]error{}, ends: map[string]error{}, lives: map[string]life{}, changed: make(chan struct{})}
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

// report describes a worker as a dependency engine does.
func (s *Starts) report(name string, inputs []string) map[string]any {
	s.mu.Lock()
	l, err := s.lives[name], errors.Join(s.last[name], s.ends[name])
	s.mu.Unlock()
	r := map[string]any{dependency.KeyState: "stopped", dependency.KeyInputs: inputs}
	if l.starts > 0 {
		r[dependency.KeyStartCount], r[dependency.KeyLastStart] = l.starts, l.began.Format(time.DateTime)
	}
	if err != nil {
		r[dependency.KeyError] = err.Error()
	}
	if l.worker != nil {
		r[dependency.KeyState] = "started"
		r[dependency.KeyReport] = report(l.worker)
	}
	return r
}

// began notes that a worker lives.
func (s *Starts) began(name string, w worker.Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lives[name] = life{worker: w, starts: s.lives[name].starts + 1, began: time.Now()}
}

// ended notes why a worker has ended, and reports whether it was the newest of
// its name.
func (s *Starts) ended(name string, w worker.Worker, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lives[name]
	if l.worker != w {
		return false
	}
	l.worker = nil
	s.lives[name], s.ends[name] = l, err
	return true
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
	s.began(name, w)
	up(1)
	go func() {
		if err := w.Wait(); s.ended(name, w, err) {
			up(0)
		}
	}()
}
