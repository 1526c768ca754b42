package queue

// lane is the operations of one priority, in flows, with limits of its own. It is guarded
// by the queue's lock.
type lane struct {
	agents map[string]*agent // by ID; those with operations
	turns  ring[*agent]      // those with operations that wait
	held   ring[*flow]       // flows with operations that are held back
	ops    int               // that wait
	bytes  int               // of those
	back   int               // operations that are held back
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
	a := l.agents[op.Via]
	if a == nil {
		if l.agents == nil {
			l.agents = map[string]*agent{}
		}
		a = &agent{id: op.Via, flows: map[string]*flow{}}
		l.agents[op.Via] = a
	}
	f := a.flows[op.Share]
	if f == nil {
		f = &flow{agent: a, share: op.Share}
		a.flows[op.Share] = f
	}
	return f
}

// forget drops a flow without operations, and an agent without flows.
func (l *lane) forget(f *flow) {
	f.agent.forget(f)
	l.leave(f.agent)
}

// leave drops an agent without flows.
func (l *lane) leave(a *agent) {
	if len(a.flows) == 0 {
		delete(l.agents, a.id)
	}
}

// flows yields all flows.
func (l *lane) flows(yield func(*flow) bool) {
	for _, a := range l.agents {
		for _, f := range a.flows {
			if !yield(f) {
				return
			}
		}
	}
}

// callers returns the number of flows.
func (l *lane) callers() (n int) {
	for _, a := range l.agents {
		n += len(a.flows)
	}
	return n
}

// hasRoom reports whether op of f fits. The largest operation fits an empty lane, and
// some of each flow fit one that is full, up to twice its size.
func (l *lane) hasRoom(f *flow, op *Operation) bool {
	quarters := 4
	if f.small(op) {
		quarters += f.agent.beyond(op)
	}
	return l.ops < Capacity/4*quarters && l.bytes+op.Size() <= laneBytes/4*quarters
}

func (l *lane) push(f *flow, op *Operation) {
	if f.agent.ops == 0 {
		l.turns.add(f.agent)
	}
	f.agent.push(f, op)
	l.ops++
	l.bytes += op.Size()
}

// first returns the operation that is to be taken next: of the agent whose turn it is, if
// that has the credit for it. The lane must not be empty.
func (l *lane) first() *Operation {
	for {
		a := l.turns.turn()
		op := a.first()
		if a.credit >= cost(op) || l.turns.all.Len() == 1 {
			return op
		}
		if a.credit += quantum; a.credit >= cost(op) {
			return op
		}
		l.turns.next(true)
	}
}

// pop removes and returns the first operation; charged: at the cost of its flow and of its
// agent, whose turn ends if it has no credit left for another.
func (l *lane) pop(charged bool) *Operation {
	a := l.turns.turn()
	op := a.pop(charged)
	l.ops--
	l.bytes -= op.Size()
	if charged {
		a.credit = max(0, a.credit-cost(op))
	}
	switch {
	case a.ops == 0:
		a.credit = 0
		l.turns.next(false)
		l.leave(a)
	case charged && a.credit < cost(a.first()):
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
	for stuck := 0; stuck < l.held.all.Len(); {
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
	for f := range l.flows {
		ops, bytes := f.agent.keep(f, fits)
		l.ops -= ops
		l.bytes -= bytes
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

// tidy takes what a sweep has emptied out of the rings.
func (l *lane) tidy() {
	l.turns.all.Keep(func(a *agent) bool { return a.ops > 0 })
	l.held.all.Keep(func(f *flow) bool { return f.held.Len() > 0 })
	for _, a := range l.agents {
		if a.ops == 0 {
			a.credit = 0
		}
		a.tidy()
		l.leave(a)
	}
}
