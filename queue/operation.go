package queue

import (
	"sync/atomic"
	"time"

	"github.com/interrex/interrex/state"
)

// lanes is the number of lanes.
const lanes = state.LaneExtend + 1

// Operation is a state.Operation on its way to the log. It belongs to the queue
// from Enqueue on; nobody writes to it after that, and it is used once.
type Operation struct {
	state.Operation

	// Command is Data, decoded; nil of a group, whose commands Commands has. The
	// operation's maker sets both. Who looks at any operation uses Each.
	Command  state.Command
	Commands []state.Command
	// Lane is that of Command.About.
	Lane state.Lane
	// Deadline, by the queue's clock: an operation that still waits then is
	// answered with ErrDeadlineExceeded and never enters the log. Zero: 3 s
	// after it was enqueued, 5 s in state.LaneExtend.
	Deadline time.Time
	// Stop, when closed, says that the caller has gone: an operation that still
	// waits is answered with ErrCanceled and never enters the log. Optional.
	Stop <-chan struct{}
	// Done gets the one result, on any goroutine. It must not block, nor call
	// Enqueue.
	Done func(state.Result)
	// Wait makes a claim, or another command that wants its key, wait while the
	// key is taken; nil: it does not.
	Wait *Wait

	answered atomic.Bool
}

// Wait says how a claim waits for its key.
type Wait struct {
	// Until is the end of the wait, by the queue's clock.
	Until time.Time
	// Every is how often its caller asks again (ttl/4); a claim is dropped
	// after three missed times. 0: the caller does not ask again, and the claim
	// waits until Stop is closed.
	Every time.Duration
}

// Each yields the operation's commands, in order: one, or those of a group.
func (op *Operation) Each(yield func(int, state.Command) bool) {
	if len(op.Group) == 0 {
		if op.Command != nil {
			yield(0, op.Command)
		}
		return
	}
	for i, c := range op.Commands {
		if !yield(i, c) {
			return
		}
	}
}

// Answer sets the operation's result and reports whether it did: the second
// and later results are dropped, so that a caller is answered once whatever
// happens to those who carry its operation.
func (op *Operation) Answer(r state.Result) bool {
	if !op.answered.CompareAndSwap(false, true) {
		return false
	}
	op.Done(r)
	return true
}

// Gone reports whether the caller has gone.
func (op *Operation) Gone() bool {
	select {
	case <-op.Stop:
		return true
	default:
		return false
	}
}

// unfit says why an operation that waits may not enter the log any more; nil:
// it may.
func (op *Operation) unfit(now time.Time) error {
	if op.Gone() {
		return errCanceled()
	}
	if !now.Before(op.Deadline) {
		return errDeadline()
	}
	return nil
}
