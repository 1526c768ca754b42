package manifolds

import (
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/logs"
)

// Starts remembers how the life of each worker goes, and wakes those who wait
// for one. The engine's report is polled, and forgets why a worker failed
// while it waits for its next start; this does neither.
type Starts struct {
	mu      sync.Mutex
	lives   map[string]*life
	changed chan struct{}
}

// life is what is known of one worker.
type life struct {
	tried    bool
	starting time.Time     // since when a start is under way; zero: none is
	worker   worker.Worker // nil: it does not run
	runs     int           // how often it has been started
	began    time.Time     // when it was started last
	last     error         // of its last start
	end      error         // why it ended, if it does not run
	failures int           // how often it failed to start or ended with an error
	next     time.Time     // when it is started next, if it waits for that
}

func newStarts() *Starts {
	return &Starts{lives: map[string]*life{}, changed: make(chan struct{})}
}

// of returns a worker's life. The lock is held.
func (s *Starts) of(name string) *life {
	l := s.lives[name]
	if l == nil {
		l = &life{}
		s.lives[name] = l
	}
	return l
}

// starting notes that a start is under way.
func (s *Starts) starting(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(name).starting = time.Now()
}

// Starting says since when a start of a worker is under way; zero: none is.
func (s *Starts) Starting(name string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l.starting
	}
	return time.Time{}
}

// started notes how a start ended. It returns which run it began.
func (s *Starts) started(name string, w worker.Worker, err error) (run int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(name)
	l.tried, l.last, l.next, l.starting = true, err, time.Time{}, time.Time{}
	if err == nil {
		l.runs, l.end, l.worker, l.began = l.runs+1, nil, w, time.Now()
	}
	if failed(err) {
		l.failures++
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return l.runs
}

// worker returns the worker that runs; nil: none does.
func (s *Starts) worker(name string) worker.Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l.worker
	}
	return nil
}

// ended notes why a run ended, and reports whether it was the newest: it may come
// after the start of the next one.
func (s *Starts) ended(name string, run int, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(name)
	if failed(err) {
		l.failures++
	}
	if l.runs != run {
		return false
	}
	l.worker, l.end = nil, err
	return true
}

// due notes when a worker is started next.
func (s *Starts) due(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(name).next = at
}

// failed reports whether err is a failure, and not the engine's word for
// something else.
func failed(err error) bool {
	for _, other := range []error{nil, dependency.ErrMissing, dependency.ErrBounce, dependency.ErrUninstall} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// Last says whether a worker has been started, or has failed to.
func (s *Starts) Last(name string) (tried bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l.tried, l.last
	}
	return false, nil
}

// Down says why a worker that does not run ended, or could not start; nil: it
// runs, or only waits for an input.
func (s *Starts) Down(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l.down()
	}
	return nil
}

func (l *life) down() error {
	switch {
	case failed(l.last):
		return l.last
	case failed(l.end):
		return l.end
	}
	return nil
}

// Failed returns the error of a worker whose last start failed for another reason
// than a missing input, nil when there is none; changed is closed at the next
// start of any worker. The workers named in except may fail.
func (s *Starts) Failed(except ...string) (changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.lives)) {
		if err := s.lives[name].last; failed(err) && !slices.Contains(except, name) {
			return s.changed, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s.changed, nil
}

// report describes a worker as a dependency engine does.
func (s *Starts) report(name string, inputs []string) map[string]any {
	s.mu.Lock()
	l := *s.of(name)
	s.mu.Unlock()
	r := map[string]any{dependency.KeyState: "stopped", dependency.KeyInputs: inputs}
	if l.runs > 0 {
		r[dependency.KeyStartCount], r[dependency.KeyLastStart] = l.runs, l.began.Format(time.DateTime)
	}
	if err := errors.Join(l.last, l.end); err != nil {
		r[dependency.KeyError] = err.Error()
	}
	if l.worker != nil {
		r[dependency.KeyState] = "started"
		r[dependency.KeyReport] = report(l.worker)
	}
	return r
}

// complete adds to an engine's report what it has forgotten: why a worker that
// waits for its next start failed, how often it has, and when that start comes.
func (s *Starts) complete(report map[string]any) map[string]any {
	workers, _ := report[dependency.KeyManifolds].(map[string]any)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.lives {
		w, is := workers[name].(map[string]any)
		if !is {
			continue
		}
		if l.failures > 0 {
			w[apiserver.KeyFailures] = l.failures
		}
		if w[dependency.KeyState] == "started" {
			continue
		}
		if err := l.down(); w[dependency.KeyError] == nil && failed(err) {
			w[dependency.KeyError] = err.Error()
		}
		if w[dependency.KeyError] != nil && !l.next.IsZero() {
			w[apiserver.KeyNextStart] = l.next
		}
	}
	return report
}

// engineLogger hears of an engine when it will start a worker: the engine tells
// nobody else.
type engineLogger struct {
	dependency.Logger
	starts *Starts
	clock  clock.Clock
}

// startingFormat is what the engine says of each start.
const startingFormat = "starting %q manifold worker in %s..."

// Tracef implements dependency.Logger.
func (l engineLogger) Tracef(format string, args ...any) {
	if format == startingFormat && len(args) == 2 {
		name, _ := args[0].(string)
		delay, _ := args[1].(time.Duration)
		l.starts.due(name, l.clock.Now().Add(delay))
	}
	l.Logger.Tracef(format, args...)
}

// EngineLogger is the logger for the engine that these manifolds are in.
func (s *Set) EngineLogger() dependency.Logger {
	return engineLogger{logs.NewRepeats(s.config.Agent.Clock, s.logger("engine")), s.Starts, s.config.Agent.Clock}
}

// Report is that of the engine that these manifolds are in, with what an engine
// forgets.
func (s *Set) Report(engine dependency.Reporter) map[string]any {
	return s.slots(s.Starts.complete(engine.Report()))
}

// slots adds to a report which inputs are slots: those that a worker offers
// something in, and those that it uses.
func (s *Set) slots(report map[string]any) map[string]any {
	workers, _ := report[dependency.KeyManifolds].(map[string]any)
	for name, n := range s.nodes {
		if w, is := workers[s.name(name)].(map[string]any); is {
			w[apiserver.KeyOffers], w[apiserver.KeyUses] = s.names(n.offers...), s.names(n.uses...)
		}
	}
	return report
}

// guard returns the Start of a manifold that makes a panic an error of the worker
// (the engine has no guard of its own there), and records how each start and each
// run ended: with the error that the engine gets from the manifold's filter.
// Metrics of each worker's life are kept in kept; nil: nowhere.
func guard(name string, m dependency.Manifold, starts *Starts, kept *agentMetrics) dependency.StartFunc {
	return func(ctx dependency.Context) (w worker.Worker, err error) {
		defer func() {
			if p := recover(); p != nil {
				w, err = nil, fmt.Errorf("panic in the start of %s: %v\n%s", name, p, debug.Stack())
			}
			run := starts.started(name, w, err)
			if err == nil {
				starts.follow(name, run, w, m.Filter, kept)
			}
		}()
		starts.starting(name)
		return m.Start(ctx)
	}
}

// follow counts a start, shows the worker as up until it has ended, and notes
// why it did. The goroutine lives as long as the worker.
func (s *Starts) follow(name string, run int, w worker.Worker, filter dependency.FilterFunc, m *agentMetrics) {
	up := func(float64) {}
	if m != nil {
		m.starts.WithLabelValues(name).Inc()
		up = m.up.WithLabelValues(name).Set
	}
	up(1)
	go func() {
		err := w.Wait()
		if err != nil && filter != nil {
			err = filter(err)
		}
		if s.ended(name, run, err) {
			up(0)
		}
	}()
}
