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

// Period is the time between two looks at the conditions.
const Period = time.Second

// MaxSubjects is how many alarms of one condition are kept: a cluster is small,
// and what goes wrong more often than that is one thing.
const MaxSubjects = 64

// Stuck is how long one look may take before that is an alarm itself: a
// condition that waits for a disk that has stopped answering must not hide it.
const Stuck = 10 * time.Second

// StuckName is the alarm of a look that does not end.
const StuckName = "alarms-stuck"

// Registry keeps the alarms of one agent. Its zero value is not usable.
type Registry struct {
	conditions []Condition
	clock      clock.Clock
	logger     interrex.Logger
	desc       *prometheus.Desc

	mu      sync.Mutex
	current []interrex.Alarm
	looking string    // the condition that is looked at
	began   time.Time // when that look began

	turn sync.Mutex // of the one who looks
	seen map[key]*sighting
}

// sighting is a finding over several looks.
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
			return nil, fmt.Errorf("alarm %q not valid: it needs a name, something to do, and a look", condition.Name)
		}
		if names[condition.Name] {
			return nil, fmt.Errorf("alarm %q not valid: there are two of that name", condition.Name)
		}
		names[condition.Name] = true
	}
	if c == nil || l == nil {
		return nil, errors.New("alarms need a clock and a logger")
	}
	return &Registry{
		conditions: conditions, clock: c, logger: l, seen: map[key]*sighting{},
		desc: prometheus.NewDesc("interrex_alarm", "How many alarms of that name are raised.", []string{"name"}, nil),
	}, nil
}

// Current returns the alarms that are raised, by name and subject. It never
// blocks, and is at most Period old.
func (r *Registry) Current() []interrex.Alarm {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := append([]interrex.Alarm(nil), r.current...)
	if r.looking == "" {
		return all
	}
	if took := r.clock.Now().Sub(r.began); took > Stuck {
		all = append(all, interrex.Alarm{
			Name: StuckName, Since: r.began,
			Text: fmt.Sprintf("the look at %s has not ended: other alarms may be old", r.looking),
			Do:   "check the disk of the data directory: what asks it does not come back",
		})
	}
	return sorted(all)
}

// Describe implements prometheus.Collector.
func (r *Registry) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

// Collect implements prometheus.Collector: every name, so that an alert can be
// written before the first alarm.
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

// Look looks at all conditions once, unless somebody does so already.
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
			r.goOn(c.Name, now)
			continue
		}
		findings := look(c, now)
		r.mark("", now)
		for _, f := range findings[:min(len(findings), MaxSubjects)] {
			r.note(c, f, now)
		}
	}
	r.publish(began)
}

// look keeps a panic in a condition from ending the others.
func look(c *Condition, now time.Time) (findings []Finding) {
	defer func() {
		if p := recover(); p != nil {
			findings = Found(fmt.Sprintf("cannot tell: panic: %v", p))
		}
	}()
	return c.Look(now)
}

func (r *Registry) mark(name string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looking, r.began = name, now
}

// goOn takes what was found of a condition for found again.
func (r *Registry) goOn(name string, now time.Time) {
	for k, s := range r.seen {
		if k.name == name {
			s.found = now
		}
	}
}

// note takes up a finding, and raises the alarm once it has lasted long enough.
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

// publish shows what is raised, and forgets what is over: what was not found in
// the round that began then, and is not kept any more.
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

// Worker looks at a registry's conditions for as long as it lives.
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
	for w.look() {
		select {
		case <-w.catacomb.Dying():
			return nil
		case <-w.registry.clock.After(Period):
		}
	}
	return nil
}

// look looks once, and reports whether to go on. A look that a disk holds up does
// not hold up the end of the worker for longer than Period.
func (w *Worker) look() bool {
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

// ReportKey is the key of a report that has the alarms, by name and subject.
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
