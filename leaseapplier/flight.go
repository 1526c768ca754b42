package leaseapplier

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// flight is an entry on its way through the log.
type flight struct {
	ops     []*queue.Operation
	waits   map[int]request // which of ops are claims for waiters
	final   []chan<- error  // who waits for this stamp
	term    uint64
	started time.Time
	bytes   int
	room    int  // for waiters' claims, while it is a draft
	space   int  // in bytes, for the same
	overdue bool // its operations have been answered: the outcome is unknown

	requests map[request]bool // of ops; made when somebody asks

	future  raft.ApplyFuture
	results []state.Result // one for each of ops
	err     error          // why there are none of Apply's
}

// has reports whether an attempt of a request is among the operations.
func (f *flight) has(id request) bool {
	if f.requests == nil {
		f.requests = make(map[request]bool, len(f.ops))
		for i, op := range f.ops {
			if w, waits := f.waits[i]; waits {
				f.requests[w] = true
			} else if op.RequestID != "" {
				f.requests[requestOf(&op.Operation)] = true
			}
		}
	}
	return f.requests[id]
}

// land waits for raft's answer, hands it out, and tells the builder. It may wait
// for ever when raft never answers; its operations are then answered by the
// builder, and it ends with raft.
func (b *builder) land(f *flight) {
	b.read(f)
	select {
	case b.shared.settled <- f:
	case <-b.shared.gone:
	}
	for i, op := range f.ops {
		if _, waits := f.waits[i]; !waits {
			b.answer(op, f.results[i])
		}
	}
}

// read turns raft's answer into results.
func (b *builder) read(f *flight) {
	defer func() {
		if p := recover(); p != nil {
			b.config.Logger.Criticalf("raft's answer to an entry panics: %v\n%s", p, debug.Stack())
			b.fail(f, errUnknown("raft has failed", fmt.Errorf("panic: %v", p)))
		}
	}()
	if err := f.future.Error(); err != nil {
		b.fail(f, b.translate(err))
		return
	}
	if err, cut := f.future.Response().(error); cut { // raft is cut off from the state
		b.fail(f, errUnknown(err.Error(), err))
		return
	}
	results, ok := f.future.Response().([]state.Result)
	if !ok || len(results) != len(f.ops) {
		b.config.Logger.Criticalf("programming error: expected %d results, got %T with %d", len(f.ops), f.future.Response(), len(results))
		b.fail(f, errUnknown("invalid FSM response", errInvalidResponse))
		return
	}
	f.results = results
	b.config.Metrics.Record(f.started, resultSuccess)
	b.config.Metrics.RecordBatch(len(f.ops))
}

var errInvalidResponse = errors.New("invalid FSM response")

// fail answers every operation of f with the same error.
func (b *builder) fail(f *flight, err error) {
	f.err = err
	f.results = make([]state.Result, len(f.ops))
	for i, op := range f.ops {
		f.results[i] = state.Result{Attempt: op.Attempt, Err: err}
	}
	b.config.Metrics.Record(f.started, resultFailure)
}

// translate maps raft's error to the kind that says what is known: that nothing
// has happened, or nothing at all.
func (b *builder) translate(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return b.errNotLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return errEnqueueTimeout(err)
	case isTransfer(err):
		return errTransfer(err)
	}
	return errUnknown(err.Error(), err)
}

// answer hands out one result. A caller's Done that panics is the caller's
// failure, not that of the others in its batch.
func (b *builder) answer(op *queue.Operation, r state.Result) {
	defer func() {
		if p := recover(); p != nil {
			b.config.Logger.Errorf("an operation's Done panics: %v\n%s", p, debug.Stack())
		}
	}()
	if e, held := r.Err.(*interrex.Error); held && e.Kind == interrex.KindHeld {
		r.Err = b.withWaiting(op, e)
	}
	if op.Answer(r) {
		b.config.Metrics.RecordOperation(op, &r)
	}
}
