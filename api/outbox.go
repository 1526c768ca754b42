package api

import (
	"context"
	"time"

	"github.com/interrex/interrex/gen/interrexv1"
)

// settled is what became of an operation, for the writer to look at: those who
// bring it must not be held up.
type settled struct {
	r *request
	o outcome
}

// settle takes what became of an operation, on whatever goroutine.
func (st *stream) settle(r *request, o outcome) {
	st.mu.Lock()
	st.settled = append(st.settled, settled{r, o})
	st.mu.Unlock()
	st.poke()
}

// deliver answers an operation that was not opened.
func (st *stream) deliver(a *interrexv1.Answer) {
	st.mu.Lock()
	st.answers = append(st.answers, a)
	st.mu.Unlock()
	st.poke()
}

func (st *stream) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// write sends answers until there will be no more. Whatever waits goes into one
// message; while that is being sent the next one gathers.
func (st *stream) write(received <-chan error) error {
	send := st.server.sender(st.ctx)
	ended := st.server.calls.ended.Done()
	// The headers go ahead: they tell the peer whom it talks to.
	if err := send(func() error { return st.conn.Send(nil) }); err != nil {
		return err
	}
	sweep := st.server.config.Clock.NewTimer(sweepEvery)
	defer sweep.Stop()
	st.sweeping.Store(true)
	for {
		select {
		case <-st.wake:
		case <-sweep.Chan():
			st.sweeping.Store(false)
		case err := <-received:
			if st.received = true; err != nil {
				return err
			}
			received = nil
		case <-ended:
			st.endWaits()
			ended = nil
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		}
		answers, open := st.take()
		for len(answers) > 0 {
			n := min(len(answers), MaxMessages)
			m := &interrexv1.OperateResponse{Answers: answers[:n]}
			if err := send(func() error { return st.conn.Send(m) }); err != nil {
				return err
			}
			answers = answers[n:]
		}
		if open == 0 && (received == nil || ended == nil) && st.quiet() {
			if received != nil {
				return drainingError()
			}
			return nil
		}
		if !st.sweeping.Load() && st.courier.sweep() {
			st.sweeping.Store(true)
			sweep.Reset(sweepEvery)
		}
	}
}

// sweepEvery is how often what another agent does not answer is looked at.
const sweepEvery = time.Second

// take makes the answers that wait, and says how many operations stay open.
func (st *stream) take() (answers []*interrexv1.Answer, open int) {
	st.mu.Lock()
	settled := st.settled
	st.settled = nil
	answers, st.answers = st.answers, nil
	for _, done := range settled {
		if id := done.r.envelope.GetId(); st.open[id] == done.r {
			delete(st.open, id)
		}
	}
	open = len(st.open)
	st.mu.Unlock()
	for _, done := range settled {
		answers = append(answers, st.answer(done.r, done.o))
		st.server.calls.leave()
	}
	return answers, open
}

// quiet reports whether nothing waits for the writer.
func (st *stream) quiet() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.answers)+len(st.settled)+len(st.open) == 0
}

// endWaits takes waiting claims out of the line, because the server drains.
func (st *stream) endWaits() {
	st.mu.Lock()
	var waits []*request
	for _, r := range st.open {
		if r.waits() {
			waits = append(waits, r)
		}
	}
	st.mu.Unlock()
	for _, r := range waits {
		r.cancel()
	}
}
