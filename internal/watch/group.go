package watch

import (
	"sync/atomic"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/interest"
	"github.com/interrex/interrex/state"
)

// group is the readers that wait for the same events: all with one scope, or all
// watches of one Front.
type group struct {
	entry   *interest.Entry // nil for that of a Front, or of the tick
	readers int
	// asleep reports whether a reader waits for the alarm. It is set under a read lock,
	// and read and cleared under the write lock.
	asleep atomic.Bool
	alarm  *alarm
}

// alarm is closed once there may be something to read.
type alarm struct {
	closed chan struct{}
	// next is 0 until it is known that the alarm has to be closed. Then no event before
	// this revision is for the readers that wait.
	next interrex.Revision
}

func newAlarm() *alarm { return &alarm{closed: make(chan struct{})} }

func (r *Ring) newGroup() *group {
	g := &group{alarm: newAlarm()}
	r.groups[g] = struct{}{}
	return g
}

// join adds a reader to the group of a scope.
func (r *Ring) join(s interest.Scope) *group {
	name := s.String()
	g := r.shared[name]
	if g == nil {
		g = r.newGroup()
		g.entry = r.sleepers.Add(s, g)
		r.shared[name] = g
	}
	g.readers++
	return g
}

// quit removes a reader from the group of a scope.
func (r *Ring) quit(g *group, s interest.Scope) {
	if g.readers--; g.readers > 0 {
		return
	}
	r.sleepers.Remove(g.entry)
	delete(r.shared, s.String())
	delete(r.groups, g)
}

// call wakes the readers of a group, if any are asleep: at is the first revision that
// may be for them. Waking a thousand goroutines takes longer than applying an entry, so
// another goroutine does it, which lives as long as there are alarms to close.
func (r *Ring) call(g *group, at interrex.Revision) {
	if !g.asleep.Load() || g.alarm.next > 0 {
		return
	}
	g.alarm.next = at
	r.called = append(r.called, g)
	if !r.ringing {
		r.ringing = true
		r.waking.Go(r.ring)
	}
}

func (r *Ring) ring() {
	for {
		alarms := r.nextAlarms()
		if len(alarms) == 0 {
			return
		}
		for _, a := range alarms {
			close(a.closed)
		}
	}
}

// maxAlarms is how many alarms are replaced under one lock.
const maxAlarms = 256

// nextAlarms returns alarms to close, and replaces them by new ones.
func (r *Ring) nextAlarms() (alarms []*alarm) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.called) == 0 {
		r.ringing, r.called = false, nil
		return nil
	}
	n := min(len(r.called), maxAlarms)
	for _, g := range r.called[:n] {
		alarms = append(alarms, g.alarm)
		g.alarm = newAlarm()
		g.asleep.Store(false)
	}
	r.called = r.called[n:]
	return alarms
}

// Mark returns what an index of readers has to know of an event.
func Mark(e *state.Event) interest.Event {
	return interest.Mark(uint16(e.Table), e.Kind, e.Key, e.Value)
}

// Readers that wait long learn how far history has advanced: after a number of
// revisions, far fewer than a ring keeps, so that they do not lose their place when
// they resume; or, if there are fewer, with the first event after a time.
const (
	progressEvery = 4096
	progressAfter = 10 * time.Second
)

// progress is when the tick's readers were last woken.
type progress struct {
	at  interrex.Revision
	now state.Time
}

// progress wakes the tick's readers if they are due.
func (r *Ring) progress(events []state.Event) {
	now := r.ticked.now
	if len(events) > 0 {
		now = events[len(events)-1].Now
	}
	if r.last < r.ticked.at+progressEvery && now < r.ticked.now.Add(progressAfter) {
		return
	}
	r.ticked = progress{at: r.last, now: now}
	r.call(r.tick, r.last)
}

// UntilProgress returns a channel that is closed when history has advanced by 4 096
// revisions, or by an event 10 s after the last time by the cluster's clock, or was
// replaced.
func (r *Ring) UntilProgress() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	r.tick.asleep.Store(true)
	return r.tick.alarm.closed
}
