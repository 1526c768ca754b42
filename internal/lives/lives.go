package lives

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex/internal/unit"
)

// Lives records the life of each worker of an engine, and wakes the callers that wait
// for a start. An engine's report has to be polled, and is without the error of a
// worker that waits for its next start.
type Lives struct {
	starts *prometheus.CounterVec
	up     *prometheus.GaugeVec

	mu      sync.Mutex
	lives   map[string]*life
	changed chan struct{}
}

// What Complete adds to an engine's report of a worker.
const (
	KeyFailures  = "failures"   // int: how often it failed
	KeyNextStart = "next-start" // time.Time: when it is started again
)

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

// New returns the lives of no workers.
func New() *Lives {
	return &Lives{
		lives: map[string]*life{}, changed: make(chan struct{}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "interrex_worker_starts_total", Help: "Starts of each worker."}, []string{"worker"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "interrex_worker_up", Help: "1 while the worker runs, else 0."}, []string{"worker"}),
	}
}

// Describe implements prometheus.Collector.
func (s *Lives) Describe(to chan<- *prometheus.Desc) { s.starts.Describe(to); s.up.Describe(to) }

// Collect implements prometheus.Collector.
func (s *Lives) Collect(to chan<- prometheus.Metric) { s.starts.Collect(to); s.up.Collect(to) }

// Expect has the metrics show a worker before its first start.
func (s *Lives) Expect(name string) {
	s.starts.WithLabelValues(name)
	s.up.WithLabelValues(name)
}

// of returns a worker's life. The lock is held.
func (s *Lives) of(name string) *life {
	l := s.lives[name]
	if l == nil {
		l = &life{}
		s.lives[name] = l
	}
	return l
}

// starting notes that a start is under way.
func (s *Lives) starting(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(name).starting = time.Now()
}

// Starting returns when the start of a worker began that is under way; zero: none is.
func (s *Lives) Starting(name string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l.starting
	}
	return time.Time{}
}

// started notes how a start ended, and returns the number of the run that it began.
func (s *Lives) started(name string, w worker.Worker, err error) (run int) {
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

// Worker returns the worker that runs; nil: none does.
func (s *Lives) Worker(name string) worker.Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l.worker
	}
	return nil
}

// ended notes why a run ended, and reports whether it was the newest: it may come
// after the start of the next one.
func (s *Lives) ended(name string, run int, err error) bool {
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
func (s *Lives) due(name string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(name).next = at
}

// failed reports whether err is a failure: the engine has errors with other meanings.
func failed(err error) bool {
	for _, other := range []error{nil, dependency.ErrMissing, dependency.ErrBounce, dependency.ErrUninstall} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// Last reports whether a worker has been started or has failed to start, and the error
// of its last start.
func (s *Lives) Last(name string) (tried bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lives[name]; l != nil {
		return l.tried, l.last
	}
	return false, nil
}

// Down returns why a worker that does not run ended or could not start; nil: it runs,
// or only waits for an input.
func (s *Lives) Down(name string) error {
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
func (s *Lives) Failed(except ...string) (changed <-chan struct{}, err error) {
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
func (s *Lives) report(name string, inputs []string) map[string]any {
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
		r[dependency.KeyReport] = unit.Report(l.worker)
	}
	return r
}

// Complete adds to an engine's report what it has forgotten: why a worker that
// waits for its next start failed, how often it has, and when that start comes.
func (s *Lives) Complete(report map[string]any) map[string]any {
	workers, _ := report[dependency.KeyManifolds].(map[string]any)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.lives {
		w, is := workers[name].(map[string]any)
		if !is {
			continue
		}
		if l.failures > 0 {
			w[KeyFailures] = l.failures
		}
		if w[dependency.KeyState] == "started" {
			continue
		}
		if err := l.down(); w[dependency.KeyError] == nil && failed(err) {
			w[dependency.KeyError] = err.Error()
		}
		if w[dependency.KeyError] != nil && !l.next.IsZero() {
			w[KeyNextStart] = l.next
		}
	}
	return report
}

// engineLogger learns from an engine's log when it will start a worker: it is reported
// nowhere else.
type engineLogger struct {
	dependency.Logger
	starts *Lives
	clock  clock.Clock
}

// startingFormat is what the engine logs before each start.
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

// Logger returns the logger for the engine that the workers are in.
func (s *Lives) Logger(to dependency.Logger, now clock.Clock) dependency.Logger {
	return engineLogger{to, s, now}
}

// Recorded returns the Start of a manifold that makes a panic an error of the worker
// (the engine has no guard of its own there), and records how each start and each
// run ended: with the error that the engine gets from the manifold's filter.
func (s *Lives) Recorded(name string, m dependency.Manifold) dependency.StartFunc {
	return func(ctx dependency.Context) (w worker.Worker, err error) {
		s.starting(name)
		err = unit.Caught(func() (err error) {
			w, err = m.Start(ctx)
			return err
		})
		run := s.started(name, w, err)
		if err == nil {
			s.follow(name, run, w, m.Filter)
		}
		return w, err
	}
}

// follow counts a start, shows the worker as up until it has ended, and notes
// why it did. The goroutine lives as long as the worker.
func (s *Lives) follow(name string, run int, w worker.Worker, filter dependency.FilterFunc) {
	s.starts.WithLabelValues(name).Inc()
	up := s.up.WithLabelValues(name).Set
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
