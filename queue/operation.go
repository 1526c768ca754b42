package queue

import (
	"sync/atomic"
	"time"

	"github.com/interrex/interrex/state"
)

// The lanes.
const (
	laneNormal = iota
	laneExtend
	lanes
)

// Operation is a state.Operation on its way to the log. It is used once, and must not
// be changed after it was enqueued.
type Operation struct {
	state.Operation

	// Command is Data, decoded; nil for a group, whose commands are in Commands.
	// The caller sets them. Each yields either.
	Command  state.Command
	Commands []state.Command
	// Extend is that of Command.About: the operation waits in a lane of its own.
	Extend bool
	// Via is the agent that has sent it, with the operations of others, which must not be
	// held back for its sake: while there is no room it is refused (ErrOverloaded). Empty:
	// its caller has called this agent. Agents take turns.
	Via string
	// Share is in whose share of its agent's turns the operation is: callers, or
	// connections, take turns in them. Empty is one share, too.
	Share string
	// Deadline is when an operation that is still waiting is answered with
	// ErrDeadlineExceeded, by the queue's clock; it then never enters the log. Zero:
	// 3 s after it was enqueued, 5 s for an Extend.
	Deadline time.Time
	// Stop is closed when the caller has given up: an operation that is still
	// waiting is answered with ErrCanceled and never enters the log. Optional.
	Stop <-chan struct{}
	// Done is called with the result, once, on any goroutine. It must not block or
	// call Enqueue.
	Done func(state.Result)
	// Wait makes a claim, or another command that takes a key, wait while the key is
	// taken. nil: it does not wait.
	Wait *Wait

	answered atomic.Bool
}

// Wait is how a claim waits for its key.
type Wait struct {
	// Until is the end of the wait, by the queue's clock.
	Until time.Time
	// Every is how often the caller retries (ttl/4); after three missed retries
	// the claim no longer waits. 0: the caller does not retry, and the claim
	// waits until Stop is closed.
	Every time.Duration
}

// lane returns the index of the operation's lane.
func (op *Operation) lane() int {
	if op.Extend {
		return laneExtend
	}
	return laneNormal
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

// spare reports whether an operation is let in while almost no disk space is left.
func (op *Operation) spare() bool {
	if op.Extend {
		return true
	}
	spare := false
	for _, c := range op.Each {
		if spare = c.About().Spare; !spare {
			return false
		}
	}
	return spare
}

// Answer calls Done with the operation's result and reports whether it did: later
// results are dropped, so that a caller is answered once even if the code that
// handles its operation fails midway.
func (op *Operation) Answer(r state.Result) bool {
	if !op.answered.CompareAndSwap(false, true) {
		return false
	}
	op.Done(r)
	return true
}

// Gone reports whether the caller has given up.
func (op *Operation) Gone() bool {
	select {
	case <-op.Stop:
		return true
	default:
		return false
	}
}

// unfit returns why an operation may no longer enter the log; nil: it may.
func (op *Operation) unfit(now time.Time) error {
	if op.Gone() {
		return errCanceled()
	}
	if !now.Before(op.Deadline) {
		return errDeadline()
	}
	return nil
}
