package queue

import "github.com/interrex/interrex/internal/fifo"

// The terms on which the flows of a lane take turns: in a turn a flow may take as many
// bytes as quantum, and what it did not use of its earlier turns.
const (
	quantum = 1 << 10
	// opCost is what an operation costs in addition to its size.
	opCost = 512
)

// What a flow may have in a lane that is full, so that those who fill it do not keep the
// others out.
const (
	flowOps   = 64
	flowBytes = 64 << 10
)

// flow is one caller's operations in a lane, first in, first out, and behind them those
// that are held back until there is room.
type flow struct {
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

// ring is flows that take turns. A flow is in it at most once.
type ring struct{ flows fifo.Queue[*flow] }

// turn returns the flow whose turn it is. The ring must not be empty.
func (r *ring) turn() *flow { return r.flows.First() }

func (r *ring) add(f *flow) { r.flows.Push(f) }

// next ends a turn; stays: the flow remains in the ring.
func (r *ring) next(stays bool) {
	if f := r.flows.Pop(); stays {
		r.flows.Push(f)
	}
}
