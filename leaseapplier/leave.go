package leaseapplier

import (
	"fmt"
	"slices"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// patrol is how often waiters are looked after while nothing else happens.
const patrol = 100 * time.Millisecond

// minPatrol keeps waits that end close together from being looked after one by
// one.
const minPatrol = 5 * time.Millisecond

// dropGone answers the calls of w that have ended; with the last one, w leaves.
func (s *waiters) dropGone(w *waiter) {
	if !slices.ContainsFunc(w.ops, (*queue.Operation).Gone) {
		return
	}
	var gone, stay []*queue.Operation
	for _, op := range w.ops {
		if op.Gone() {
			gone = append(gone, op)
		} else {
			stay = append(stay, op)
		}
	}
	err := s.errLeft(w, interrex.Errorf(interrex.KindTimeout, "cannot claim %s: its caller went", w.line.key).WithCause(queue.ErrCanceled))
	if len(stay) == 0 {
		s.leave(w, state.Result{Err: err})
		return
	}
	w.ops = stay
	for _, op := range gone {
		s.refuse(op, err)
	}
}

// tidy ends the waits that are over, looks for names that have become free, and
// says when it wants to be called again.
func (s *waiters) tidy(now time.Time) time.Time {
	next := now.Add(patrol)
	for _, w := range s.byID {
		s.dropGone(w)
		if s.byID[w.id] == w {
			next = s.tidyOne(w, now, next)
		}
	}
	cluster := s.around.clusterNow()
	for k, l := range s.lines {
		if l.next <= cluster {
			s.look(k)
		}
	}
	return maxTime(next, now.Add(minPatrol))
}

// tidyOne ends a wait that is over: only while no attempt of it is in the log,
// for that one may be granted yet. It gives the earlier of next and the time at
// which the wait will be over.
func (s *waiters) tidyOne(w *waiter, now, next time.Time) time.Time {
	wait := w.newest().Wait
	end := wait.Until
	missed := w.asked.Add(missedAskings * wait.Every)
	if wait.Every > 0 && missed.Before(end) {
		end = missed
	}
	if now.Before(end) {
		if end.Before(next) {
			return end
		}
		return next
	}
	switch {
	case s.around.inLog(w.id):
	case !now.Before(wait.Until):
		s.leave(w, state.Result{Err: s.errHeld(w.line.key, "the wait has run out")})
	case !s.around.unheard():
		s.leave(w, state.Result{Err: errMissed(w.line.key)})
	}
	return next
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// leave takes w out of its line and answers it.
func (s *waiters) leave(w *waiter, r state.Result) {
	l := w.line
	l.waiters = slices.DeleteFunc(l.waiters, func(o *waiter) bool { return o == w })
	delete(s.byID, w.id)
	if len(l.waiters) == 0 {
		delete(s.lines, l.key)
	} else {
		s.look(l.key)
	}
	s.census.set(l.key, len(l.waiters))
	for _, op := range w.ops {
		s.around.answer(op, r)
	}
}

// leaveAll ends the line of every name: this agent leads no longer. Whoever is
// in the log may be granted yet.
func (s *waiters) leaveAll(err error) {
	for _, w := range s.byID {
		s.leave(w, state.Result{Err: s.errLeft(w, err)})
	}
	s.looks, s.jumps = nil, nil
}

// errLeft is err, unless a claim of w is in the log: then nobody can say that
// nothing happened. So err is told in words alone: whoever finds a
// NotLeaderError or queue.ErrCanceled in an error takes it for that promise.
func (s *waiters) errLeft(w *waiter, err error) error {
	if s.around.inLog(w.id) {
		return errUnknown(fmt.Sprintf("its claim is in the log, and then: %v", err), nil)
	}
	return err
}

func errCrowded(k interrex.Key) error {
	e := interrex.Errorf(interrex.KindOverloaded,
		"cannot wait for %s: at most %d claims may wait for a name, and %d in all", k, maxWaitersPerKey, maxWaiters)
	e.RetryAfter = time.Second
	return e
}

func errMissed(k interrex.Key) error {
	e := interrex.Errorf(interrex.KindUnavailable,
		"cannot wait for %s any longer: its caller has not asked again %d times; nothing has happened, ask again", k, missedAskings)
	e.RetryAfter = retryAfter
	return e
}
