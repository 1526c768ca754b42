package leaseapplier

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// The results of entries.
const (
	resultSuccess = "success"
	resultFailure = "failure"
)

// proposal is an entry from its creation until its outcome is known.
type proposal struct {
	ops        []*queue.Operation
	waits      map[int]request // the ops that are claims of waiters, by index
	finalTicks finalTicks      // callers that wait for this stamp
	term       uint64
	started    time.Time
	bytes      int
	overdue    bool // its operations have been answered: the outcome is unknown

	requests map[request]bool // of ops; made when needed

	future  raft.ApplyFuture
	results []state.Result // one for each of ops
	err     error          // why there are no results
}

func (e *proposal) add(op *queue.Operation) {
	e.ops = append(e.ops, op)
	e.bytes += op.Size()
}

// addClaim adds the newest attempt of a waiter.
func (e *proposal) addClaim(w *waiter) {
	if e.waits == nil {
		e.waits = map[int]request{}
	}
	e.waits[len(e.ops)] = w.id
	e.add(w.newest())
}

// claimsFor reports whether the entry has a claim of that waiter.
func (e *proposal) claimsFor(id request) bool {
	for _, w := range e.waits {
		if w == id {
			return true
		}
	}
	return false
}

// has reports whether an attempt of a request is among the operations. It is called
// only when no more are added.
func (e *proposal) has(id request) bool {
	if e.requests == nil {
		e.requests = make(map[request]bool, len(e.ops))
		for i, op := range e.ops {
			if w, waits := e.waits[i]; waits {
				e.requests[w] = true
			} else if op.RequestID != "" {
				e.requests[requestOf(op)] = true
			}
		}
	}
	return e.requests[id]
}

// wait waits until raft answers or, if raft never does, until raft has stopped; the
// operations have then been answered long before.
func (e *proposal) wait(c *Config) {
	defer func() {
		if p := recover(); p != nil {
			c.Logger.Criticalf("handling raft's answer to an entry panicked: %v\n%s", p, debug.Stack())
			e.fail(c, errUnknown("raft has failed", fmt.Errorf("panic: %v", p)))
		}
	}()
	if err := e.future.Error(); err != nil {
		e.fail(c, c.translate(err))
		return
	}
	if err, cut := e.future.Response().(error); cut { // raft is cut off from the state
		e.fail(c, errUnknown(err.Error(), err))
		return
	}
	results, ok := e.future.Response().([]state.Result)
	if !ok || len(results) != len(e.ops) {
		c.Logger.Criticalf("programming error: expected %d results, got %T with %d", len(e.ops), e.future.Response(), len(results))
		e.fail(c, errUnknown("invalid FSM response", errInvalidResponse))
		return
	}
	e.results = results
	c.Metrics.Record(e.started, resultSuccess)
	c.Metrics.RecordBatch(len(e.ops))
}

var errInvalidResponse = errors.New("invalid FSM response")

// fail sets an error as the result of every operation.
func (e *proposal) fail(c *Config, err error) {
	e.err = err
	e.results = make([]state.Result, len(e.ops))
	for i, op := range e.ops {
		e.results[i] = state.Result{Attempt: op.Attempt, Err: err}
	}
	c.Metrics.Record(e.started, resultFailure)
}

// inFlight is the proposals in raft's log that are not known to be applied.
type inFlight []*proposal

// has reports whether an attempt of a request is in one of them.
func (f inFlight) has(id request) bool {
	return slices.ContainsFunc(f, func(e *proposal) bool { return e.has(id) })
}

// overdue returns the proposals that raft has not answered in time, once each.
func (f inFlight) overdue(now time.Time) []*proposal {
	var late []*proposal
	for _, e := range f {
		if !e.overdue && now.Sub(e.started) >= answerTimeout {
			e.overdue = true
			late = append(late, e)
		}
	}
	return late
}

// overdueIn returns when the first one becomes overdue; false: none will.
func (f inFlight) overdueIn(now time.Time) (time.Duration, bool) {
	for _, e := range f {
		if !e.overdue {
			return e.started.Add(answerTimeout).Sub(now), true // they are in order
		}
	}
	return 0, false
}

// remove reports whether e was among them; if not, its term is over.
func (f *inFlight) remove(e *proposal) bool {
	i := slices.Index(*f, e)
	if i < 0 {
		return false
	}
	*f = slices.Delete(*f, i, i+1)
	return true
}

// removeOtherTerms removes and returns the proposals of other terms.
func (f *inFlight) removeOtherTerms(term uint64) []*proposal {
	var removed []*proposal
	*f = slices.DeleteFunc(*f, func(e *proposal) bool {
		if e.term != term {
			removed = append(removed, e)
		}
		return e.term != term
	})
	return removed
}

// finalTicks are callers of FinalTick.
type finalTicks []chan<- error

// end answers them all.
func (t *finalTicks) end(err error) {
	for _, done := range *t {
		done <- err
	}
	*t = nil
}
