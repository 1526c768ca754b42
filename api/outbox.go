package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// settled is the outcome of an operation. The writer encodes it, so that the
// goroutine that reports it is not held up.
type settled struct {
	r *request
	o outcome
}

// refused is an operation that could not be opened.
type refused struct {
	id     uint64
	method uint32
	err    error
}

// settle takes the outcome of an operation, on any goroutine.
func (st *stream) settle(r *request, o outcome) {
	st.mu.Lock()
	st.settled = append(st.settled, settled{r, o})
	st.mu.Unlock()
	st.poke()
}

// settleAll takes the outcomes of several.
func (st *stream) settleAll(requests []*request, outcomes []outcome) {
	st.mu.Lock()
	for i, r := range requests {
		st.settled = append(st.settled, settled{r, outcomes[i]})
	}
	st.mu.Unlock()
	st.poke()
}

// refuse answers an operation that is not opened.
func (st *stream) refuse(in *interrexv1.Operation, err error) {
	st.mu.Lock()
	st.refused = append(st.refused, refused{in.GetId(), in.GetMethod(), err})
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
	out := outbox{server: st.server, counts: st.caller.door != doorPeer}
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
		open := st.take(&out)
		for out.next() {
			if err := send(func() error { return st.conn.Send(&out.message) }); err != nil {
				return err
			}
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

// sweepEvery is how often to check for operations that another agent has not
// answered.
const sweepEvery = time.Second

// take removes what waits, and returns how many operations stay open.
func (st *stream) take(out *outbox) (open int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.settled, out.settled = out.settled[:0], st.settled
	st.refused, out.refused = out.refused[:0], st.refused
	for i := range out.settled {
		delete(st.open, out.settled[i].r.envelope.GetId())
	}
	st.server.calls.leave(len(out.settled))
	select {
	case st.taken <- struct{}{}:
	default:
	}
	return len(st.open)
}

// outbox makes messages from what was taken from a stream. Its memory is
// reused.
type outbox struct {
	server  *Server
	counts  bool // its answers are counted here, and not where they were forwarded from
	settled []settled
	refused []refused
	made    int // of settled
	message interrexv1.OperateResponse
	answers []wire.Answer
	bodies  []byte
}

// maxAnswerBytes is the size at which a message of answers takes no more.
const maxAnswerBytes = 1 << 20

// next makes the next message, of at most MaxMessages answers; false: there is
// nothing left to say.
func (o *outbox) next() bool {
	n := min(len(o.settled)-o.made+len(o.refused), MaxMessages)
	if n == 0 {
		clear(o.settled)
		o.settled, o.made = o.settled[:0], 0
		return false
	}
	if cap(o.answers) < n {
		o.answers = make([]wire.Answer, MaxMessages)
	}
	o.message.Answers, o.bodies = o.message.Answers[:0], o.bodies[:0]
	bytes, now := 0, o.server.config.Clock.Now()
	for i := 0; i < n && bytes < maxAnswerBytes; i++ {
		a := &o.answers[:n][i]
		if o.made < len(o.settled) {
			s := &o.settled[o.made]
			a.Id = s.r.envelope.GetId()
			err := o.fill(a, s.r, s.o)
			o.count(s.r.method, now.Sub(s.r.began), err)
			o.made++
		} else {
			last := len(o.refused) - 1
			a.Id = o.refused[last].id
			o.fail(a, o.refused[last].err)
			o.count(o.server.methods[o.refused[last].method], 0, o.refused[last].err)
			o.refused = o.refused[:last]
		}
		bytes += len(a.GetBody()) + proto.Size(a.GetError())
		o.message.Answers = append(o.message.Answers, &a.Answer)
	}
	return true
}

// count counts an answer. A number that is no method's has no name to count
// under.
func (o *outbox) count(m *Method, took time.Duration, err error) {
	if o.counts && m != nil {
		m.latency.answered(took, err)
	}
}

// fill makes the answer of an operation, and returns the error in it.
func (o *outbox) fill(a *wire.Answer, r *request, got outcome) error {
	got = o.server.answered(r, got)
	if got.err == nil && got.message != nil {
		from := len(o.bodies)
		o.bodies, got.err = proto.MarshalOptions{}.MarshalAppend(o.bodies, got.message)
		got.body = o.bodies[from:]
	}
	if got.err != nil {
		o.fail(a, got.err)
		return got.err
	}
	a.SetBody(got.body)
	return nil
}

func (o *outbox) fail(a *wire.Answer, err error) {
	a.Result = &interrexv1.Answer_Error{Error: o.server.detail(err)}
}

// quiet reports whether nothing waits for the writer.
func (st *stream) quiet() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.refused)+len(st.settled)+len(st.open) == 0
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
