package leaseapplier

import (
	"runtime/debug"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// answers passes results to callers, on any goroutine.
type answers struct {
	config *Config
	table  state.Waitable
	counts *waiterCounts
}

// answer passes on one result. A Done that panics affects only its own caller, not
// the others in the batch.
func (a *answers) answer(op *queue.Operation, r state.Result) {
	defer func() {
		if p := recover(); p != nil {
			a.config.Logger.Errorf("an operation's Done panicked: %v\n%s", p, debug.Stack())
		}
	}()
	if e, is := r.Err.(*interrex.Error); is && e.Kind == interrex.ErrHeld {
		r.Err = a.withWaiting(op, e)
	}
	if op.Answer(r) {
		a.config.Metrics.RecordOperation(op, &r)
	}
}

// refuse answers an operation with an error.
func (a *answers) refuse(op *queue.Operation, err error) {
	a.answer(op, state.Result{Attempt: op.Attempt, Err: err})
}

// withWaiting adds the number of waiters to an error of ErrHeld, in a copy, since
// the error may be shared. A group's error does not say which claim it is about, so
// it gets no number.
func (a *answers) withWaiting(op *queue.Operation, e *interrex.Error) error {
	if e.Waiting != 0 || op.Command == nil || a.counts.empty() {
		return e
	}
	if _, wants := a.table.Wants(op.Command); !wants {
		return e
	}
	counted := *e
	counted.Waiting = a.counts.of(op.Command.About().Key)
	return &counted
}
