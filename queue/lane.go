package queue

// lane is the operations of one priority, in flows, with limits of its own. It is guarded
// by the queue's lock.
type lane struct {
	flows map[string]*flow // by share; those with operations
	turns ring             // flows with operations that wait
	held  ring             // flows with operations that are held back
	ops   int              // that wait
	bytes int              // of those
	back  int              // operations that are held back
}

// heldBack is an operation whose caller is held back.
type heldBack struct {
	op     *Operation
	caller *caller
}

// caller is one call of Enqueue that is held back.
type caller struct {
	left int           // operations held back
	free chan struct{} // closed when none is left
}

func (c *caller) release() {
	if c.left--; c.left == 0 {
		close(c.free)
	}
}

// flowOf returns the flow of an operation, a new one if its caller has none.
func (l *lane) flowOf(op *Operation) *flow {
	f := l.flows[op.Share]
	if f == nil {
		if l.flows == nil {
			l.flows = map[string]*flow{}
		}
		f = &flow{share: op.Share}
		l.flows[op.Share] = f
	}
	return f
}

// forget drops a flow without operations.
func (l *lane) forget(f *flow) {
	if f.waiting.Len() == 0 && f.held.Len() == 0 {
		delete(l.flows, f.share)
	}
}

// hasRoom reports whether op of f fits. The largest operation fits an empty lane, and
// some of each flow fit one that is full, up to twice its size.
func (l *lane) hasRoom(f *flow, op *Operation) bool {
	if l.ops < Capacity && l.bytes+op.Size() <= laneBytes {
		return true
	}
	return f.small(op) && l.ops < 2*Capacity && l.bytes+op.Size() <= 2*laneBytes
}

func (l *lane) push(f *flow, op *Operation) {
	if f.waiting.Len() == 0 {
		l.turns.add(f)
	}
	f.waiting.Push(op)
	f.bytes += op.Size()
	l.ops++
	l.bytes += op.Size()
}

// pop removes the first operation of the flow whose turn it is.
func (l *lane) pop() *Operation {
	f := l.turns.turn()
	op := f.waiting.Pop()
	f.bytes -= op.Size()
	l.ops--
	l.bytes -= op.Size()
	if f.waiting.Len() == 0 {
		f.credit = 0
		l.turns.next(false)
		l.forget(f)
	}
	return op
}

// first returns the operation that is to be taken next: of the flow whose turn it is, if
// that has the credit for it. The lane must not be empty.
func (l *lane) first() *Operation {
	for {
		f := l.turns.turn()
		op := f.waiting.First()
		if f.credit >= cost(op) || l.turns.flows.Len() == 1 {
			return op
		}
		if f.credit += quantum; f.credit >= cost(op) {
			return op
		}
		l.turns.next(true)
	}
}

// take removes and returns the first operation at its flow's cost, and ends the turn if
// that has no credit left for another.
func (l *lane) take() *Operation {
	f := l.turns.turn()
	f.credit = max(0, f.credit-cost(f.waiting.First()))
	op := l.pop()
	if f.waiting.Len() > 0 && f.credit < cost(f.waiting.First()) {
		l.turns.next(true)
	}
	return op
}

// hold holds op back for c.
func (l *lane) hold(f *flow, op *Operation, c *caller) {
	if f.held.Len() == 0 {
		l.held.add(f)
	}
	f.held.Push(heldBack{op, c})
	l.back++
	c.left++
}

// admit moves operations that are held back into the lane while there is room, one of
// each flow in turn.
func (l *lane) admit() {
	if l.ops >= 2*Capacity {
		return
	}
	for stuck := 0; stuck < l.held.flows.Len(); {
		f := l.held.turn()
		if !l.hasRoom(f, f.held.First().op) {
			stuck++
			l.held.next(true)
			continue
		}
		stuck = 0
		h := f.held.Pop()
		l.back--
		l.push(f, h.op)
		h.caller.release()
		l.held.next(f.held.Len() > 0)
	}
}

// sweep removes what fits rejects, which has answered it.
func (l *lane) sweep(fits func(*Operation) bool) {
	for _, f := range l.flows {
		f.waiting.Keep(func(op *Operation) bool {
			if fits(op) {
				return true
			}
			f.bytes -= op.Size()
			l.ops--
			l.bytes -= op.Size()
			return false
		})
		l.release(f, func(h heldBack) bool {
			if fits(h.op) {
				return true
			}
			h.caller.release()
			return false
		})
	}
	l.tidy()
	l.admit()
}

// release removes what is held back in a flow and kept rejects.
func (l *lane) release(f *flow, kept func(heldBack) bool) {
	l.back -= f.held.Len()
	f.held.Keep(kept)
	l.back += f.held.Len()
}

// tidy takes the flows that a sweep has emptied out of the rings.
func (l *lane) tidy() {
	l.turns.flows.Keep(func(f *flow) bool { return f.waiting.Len() > 0 })
	l.held.flows.Keep(func(f *flow) bool { return f.held.Len() > 0 })
	for _, f := range l.flows {
		if f.waiting.Len() == 0 {
			f.credit = 0
		}
		l.forget(f)
	}
}
