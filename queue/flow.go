package queue

import "github.com/interrex/interrex/internal/fifo"

// The terms on which the flows of a lane take turns: in a turn a flow may take as many
// bytes as quantum, and what it did not use of its earlier turns.
const (
	quantum = 1 << 10
	// opCost is what an operation costs in addition to its size.
	opCost = 512
)

// What a flow, and all that another agent has sent, may have in a lane that is full, so that
// those who fill it do not keep the others out.
const (
	flowOps    = 64
	flowBytes  = 64 << 10
	agentOps   = Capacity / 8
	agentBytes = laneBytes / 8
)

// flow is one caller's operations in a lane, first in, first out, and behind them those
// that are held back until there is room.
type flow struct {
	agent   *agent
	share   string
	waiting fifo.Queue[*Operation]
	bytes   int
	held    fifo.Queue[heldBack]
	credit  int // bytes that it may still take in this turn
}

func cost(op *Operation) int { return op.Size() + opCost }

// small reports whether the flow may have op in a lane that is full.
func (f *flow) small(op *Operation) bool {
	return f.waiting.Len() < flowOps && f.bytes+op.Size() <= flowBytes
}

// ring is those that take turns. One is in it at most once.
type ring[T any] struct{ all fifo.Queue[T] }

// turn returns the one whose turn it is. The ring must not be empty.
func (r *ring[T]) turn() T { return r.all.First() }

func (r *ring[T]) add(x T) { r.all.Push(x) }

// next ends a turn; stays: the one that had it remains in the ring.
func (r *ring[T]) next(stays bool) {
	if x := r.all.Pop(); stays {
		r.all.Push(x)
	}
}
