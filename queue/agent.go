package queue

// agent is the flows of one lane that one agent has sent; this one's own callers count as
// one, too.
type agent struct {
	id     string
	flows  map[string]*flow // by share; those with operations
	turns  ring[*flow]      // flows with operations that wait
	ops    int              // that wait
	bytes  int              // of those
	credit int              // bytes that it may still take in this turn
}

// beyond returns how much of a lane's size it may use beyond it, in quarters of that, for
// small flows, if op is added: this agent's own callers, who are known, half of what there
// is, and another agent, which may make up its callers, all of it until it has its part.
func (a *agent) beyond(op *Operation) int {
	switch {
	case a.id == "":
		return 2
	case a.ops < agentOps && a.bytes+op.Size() <= agentBytes:
		return 4
	}
	return 0
}

// first returns the operation that is to be taken next: of the flow whose turn it is, if
// that has the credit for it. One must wait.
func (a *agent) first() *Operation {
	for {
		f := a.turns.turn()
		op := f.waiting.First()
		if f.credit >= cost(op) || a.turns.all.Len() == 1 {
			return op
		}
		if f.credit += quantum; f.credit >= cost(op) {
			return op
		}
		a.turns.next(true)
	}
}

func (a *agent) push(f *flow, op *Operation) {
	if f.waiting.Len() == 0 {
		a.turns.add(f)
	}
	f.waiting.Push(op)
	f.bytes += op.Size()
	a.ops++
	a.bytes += op.Size()
}

// pop removes the first operation of the flow whose turn it is; charged: at that one's
// cost, and if it has no credit left for another its turn ends.
func (a *agent) pop(charged bool) *Operation {
	f := a.turns.turn()
	op := f.waiting.Pop()
	f.bytes -= op.Size()
	a.ops--
	a.bytes -= op.Size()
	if charged {
		f.credit = max(0, f.credit-cost(op))
	}
	switch {
	case f.waiting.Len() == 0:
		f.credit = 0
		a.turns.next(false)
		a.forget(f)
	case charged && f.credit < cost(f.waiting.First()):
		a.turns.next(true)
	}
	return op
}

// keep removes what fits rejects from a flow.
func (a *agent) keep(f *flow, fits func(*Operation) bool) (ops, bytes int) {
	f.waiting.Keep(func(op *Operation) bool {
		if fits(op) {
			return true
		}
		ops, bytes = ops+1, bytes+op.Size()
		return false
	})
	f.bytes -= bytes
	a.ops -= ops
	a.bytes -= bytes
	return ops, bytes
}

// tidy takes flows that are empty out of the turns.
func (a *agent) tidy() {
	a.turns.all.Keep(func(f *flow) bool { return f.waiting.Len() > 0 })
	for _, f := range a.flows {
		if f.waiting.Len() == 0 {
			f.credit = 0
		}
		a.forget(f)
	}
}

// forget drops a flow without operations.
func (a *agent) forget(f *flow) {
	if f.waiting.Len() == 0 && f.held.Len() == 0 {
		delete(a.flows, f.share)
	}
}
