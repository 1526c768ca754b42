package api

import (
	"context"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/state"
)

// result is what the log says to a write, for the writer to look at: those who
// bring results must not be held up.
type result struct {
	w *write
	o *opened
	r state.Result
}

// settle takes the log's result of a write, on whatever goroutine.
func (st *stream) settle(p result) {
	st.mu.Lock()
	st.results = append(st.results, p)
	st.mu.Unlock()
	st.poke()
}

// finish answers an operation that is open.
func (st *stream) finish(a *interrexv1.StreamAnswer) {
	st.mu.Lock()
	if o := st.open[a.GetId()]; o != nil {
		delete(st.open, a.GetId())
		o.cancel()
		st.server.calls.leave()
	}
	st.answers = append(st.answers, a)
	st.mu.Unlock()
	st.poke()
}

// deliver answers an operation that was not opened.
func (st *stream) deliver(a *interrexv1.StreamAnswer) {
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
	for {
		select {
		case <-st.wake:
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
	}
}

// take gives the answers that wait, and how many operations stay open. A write
// that was refused because another agent leads is sent on.
func (st *stream) take() (answers []*interrexv1.StreamAnswer, open int) {
	st.mu.Lock()
	results := st.results
	st.results = nil
	st.mu.Unlock()
	for _, p := range results {
		a := st.server.answer(p.w, st.server.canceled(p.r))
		if st.caller.door != doorPeer && elsewhere(a) {
			st.carry(p)
			continue
		}
		st.finish(a)
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	answers, st.answers = st.answers, nil
	return answers, len(st.open)
}

// quiet reports whether nothing waits for the writer.
func (st *stream) quiet() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.answers)+len(st.results)+len(st.open) == 0
}

// endWaits takes waiting claims out of the line, because the server drains.
func (st *stream) endWaits() {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, o := range st.open {
		if o.waits {
			o.cancel()
		}
	}
}
