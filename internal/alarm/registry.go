package alarm

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
)

// Period is the time between two checks of the conditions.
const Period = time.Second

// MaxSubjects is the maximum number of alarms of one condition. A cluster is small:
// more subjects than that have one cause.
const MaxSubjects = 64

// Stuck is how long one check may take before that raises an alarm itself: a
// condition that waits for a disk that hangs must not hide it.
const Stuck = 10 * time.Second

// StuckName is the name of the alarm for a check that does not end.
const StuckName = "alarms-stuck"

// Registry has the alarms of one agent. Its zero value is not usable.
type Registry struct {
	conditions []Condition
	clock      clock.Clock
	logger     interrex.Logger
	desc       *prometheus.Desc

	mu       sync.Mutex
	current  []interrex.Alarm
	checking string    // the condition that is being checked
	began    time.Time // when that check began

	turn sync.Mutex // held during a check of all conditions
	seen map[key]*sighting
}

// sighting is a finding over several checks.
type sighting struct {
	alarm  interrex.Alarm
	raised bool
	found  time.Time // last
	keep   time.Duration
}

// New makes a registry of conditions. Names must differ.
func New(c clock.Clock, l interrex.Logger, conditions ...Condition) (*Registry, error) {
	names := map[string]bool{StuckName: true}
	for _, condition := range conditions {
		if condition.Name == "" || condition.Do == "" || condition.Look == nil {
			return nil, fmt.Errorf("alarm %q not valid: it needs a name, a Do and a Look", condition.Name)
		}
		if names[condition.Name] {
			return nil, fmt.Errorf("alarm %q not valid: the name is used twice", condition.Name)
		}
		names[condition.Name] = true
	}
	if c == nil || l == nil {
		return nil, errors.New("alarms need a clock and a logger")
	}
	return &Registry{
		conditions: conditions, clock: c, logger: l, seen: map[key]*sighting{},
		desc: prometheus.NewDesc("interrex_alarm", "Number of raised alarms of that name.", []string{"name"}, nil),
	}, nil
}

// Current returns the alarms that are raised, by name and subject. It never
// blocks, and is at most Period old.
func (r *Registry) Current() []interrex.Alarm {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append([]interrex.Alarm(nil), r.current...)
	if r.checking == "" {
		return all
	}
	if took := r.clock.Now().Sub(r.began); took > Stuck {
		all = append(all, interrex.Alarm{
			Name: StuckName, Since: r.began,
			Text: fmt.Sprintf("the check of %s does not end: other alarms may be out of date", r.checking),
			Do:   "check the disk of the data directory: a call on it does not return",
		})
	}
	return sorted(all)
}

// Describe implements prometheus.Collector.
func (r *Registry) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

// Collect implements prometheus.Collector. It reports every name, so that an alert
// can be written before the first alarm.
func (r *Registry) Collect(ch chan<- prometheus.Metric) {
	count := map[string]int{StuckName: 0}
	for _, c := range r.conditions {
		count[c.Name] = 0
	}
	for _, a := range r.Current() {
		count[a.Name]++
	}
	for name, n := range count {
		ch <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(n), name)
	}
}

// Look checks all conditions once, unless another goroutine is doing so.
func (r *Registry) Look() {
	if !r.turn.TryLock() {
		return
	}
	defer r.turn.Unlock()
	began := r.clock.Now()
	for i := range r.conditions {
		c := &r.conditions[i]
		now := r.clock.Now()
		r.mark(c.Name, now)
		if c.Unknown != nil && c.Unknown() {
			r.carryOver(c.Name, now)
			continue
		}
		findings := check(c, now)
		r.mark("", now)
		for _, f := range findings[:min(len(findings), MaxSubjects)] {
			r.note(c, f, now)
		}
	}
	r.publish(began)
}

// check checks one condition. A panic in it becomes its finding.
func check(c *Condition, now time.Time) (findings []Finding) {
	defer func() {
		if p := recover(); p != nil {
			findings = Found(fmt.Sprintf("cannot check: panic: %v", p))
		}
	}()
	return c.Look(now)
}

func (r *Registry) mark(name string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checking, r.began = name, now
}

// carryOver treats the last findings of a condition as found again.
func (r *Registry) carryOver(name string, now time.Time) {
	for k, s := range r.seen {
		if k.name == name {
			s.found = now
		}
	}
}

// note records a finding, and raises the alarm once it has lasted long enough.
func (r *Registry) note(c *Condition, f Finding, now time.Time) {
	k := key{c.Name, f.Subject}
	s := r.seen[k]
	if s == nil {
		s = &sighting{alarm: interrex.Alarm{Name: c.Name, Subject: f.Subject, Since: now}}
		r.seen[k] = s
	}
	s.found, s.keep, s.alarm.Text, s.alarm.Do = now, c.Keep, f.Text, c.Do
	if !f.Since.IsZero() {
		s.alarm.Since = f.Since
	}
	if !s.raised && now.Sub(s.alarm.Since) >= c.After {
		s.raised = true
		r.logger.Warningf("alarm: %s; %s", s.alarm, s.alarm.Do)
	}
}

// publish publishes the raised alarms, and drops those that are over: not found in
// the round that began at began, and past the condition's Keep.
func (r *Registry) publish(began time.Time) {
	now := r.clock.Now()
	var all []interrex.Alarm
	for k, s := range r.seen {
		if s.found.Before(began) && (!s.raised || now.Sub(s.found) >= s.keep) {
			delete(r.seen, k)
			if s.raised {
				r.logger.Infof("alarm is over after %s: %s", now.Sub(s.alarm.Since).Round(time.Second), s.alarm)
			}
			continue
		}
		if s.raised {
			all = append(all, s.alarm)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = sorted(all)
}

// Worker checks a registry's conditions for as long as it lives.
type Worker struct {
	registry *Registry
	catacomb catacomb.Catacomb
}

// Watch starts a worker. A registry has one at a time.
func (r *Registry) Watch() (*Worker, error) {
	w := &Worker{registry: r}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot watch for alarms: %w", err)
	}
	return w, nil
}

func (w *Worker) loop() error {
	for w.check() {
		select {
		case <-w.catacomb.Dying():
			return nil
		case <-w.registry.clock.After(Period):
		}
	}
	return nil
}

// check checks once, and reports whether to go on. A check that hangs delays the end
// of the worker by at most Period.
func (w *Worker) check() bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.registry.Look()
	}()
	select {
	case <-done:
		return true
	case <-w.catacomb.Dying():
	}
	select {
	case <-done:
	case <-w.registry.clock.After(Period):
	}
	return false
}

// Kill implements worker.Worker.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait implements worker.Worker.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// ReportKey is the key of the alarms in a report, by name and subject.
const ReportKey = "alarms"

// Report returns the alarms with their texts.
func (w *Worker) Report() map[string]any {
	raised := map[string]any{}
	for _, a := range w.registry.Current() {
		name := a.Name
		if a.Subject != "" {
			name += " " + a.Subject
		}
		raised[name] = map[string]any{"since": a.Since.UTC().Format(time.RFC3339), "text": a.Text, "do": a.Do}
	}
	return map[string]any{ReportKey: raised}
}
