package operations

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/fifo"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
)

// settled is the outcome of an operation. The writer encodes it, so that the
// goroutine that reports it is not delayed.
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

// outbox makes messages of the answers taken from a stream. Its memory is reused.
type outbox struct {
	server  *Server
	counts  bool // answers are counted here, not at the agent that forwarded their requests
	writes  fifo.Queue[settled]
	reads   fifo.Queue[settled]
	refused []refused
	took    load // what the message has of the stream's unsent answers
	message interrexv1.OperateResponse
	failed  *interrex.Error // the last error, and what it is in a message: many may have the same
	detail  *interrexv1.Error
	answers []wire.Answer
	bodies  []byte
}

// maxAnswerBytes is the size at which a message of answers is full.
const maxAnswerBytes = 1 << 20

// move moves all outcomes; the memory of an empty queue is reused.
func move(from, to *fifo.Queue[settled]) {
	if to.Len() == 0 {
		*from, *to = *to, *from
	}
	for from.Len() > 0 {
		to.Push(from.Pop())
	}
}

// next makes the next message, of at most maxMessages answers, and reports whether
// there is one. Writes come first, so that no extend waits for a long list.
func (o *outbox) next() bool {
	n := min(o.writes.Len()+o.reads.Len()+len(o.refused), maxMessages)
	if n > cap(o.answers) {
		o.answers = make([]wire.Answer, max(n, min(2*cap(o.answers), maxMessages)))
	}
	bytes, now := 0, o.server.config.Clock.Now()
	for i := 0; i < n && bytes < maxAnswerBytes; i++ {
		a := &o.answers[:n][i]
		switch {
		case o.writes.Len() > 0:
			o.answer(a, o.writes.Pop(), now)
		case len(o.refused) > 0:
			o.refuse(a)
		default:
			o.answer(a, o.reads.Pop(), now)
		}
		bytes += len(a.GetBody()) + proto.Size(a.GetError())
		o.message.Answers = append(o.message.Answers, &a.Answer)
	}
	return n > 0
}

// answer makes the answer of an operation.
func (o *outbox) answer(a *wire.Answer, s settled, now time.Time) {
	a.Id = s.r.Envelope.GetId()
	o.took.answers++
	o.took.bytes += len(s.o.body)
	o.took.memory += s.r.taken
	err := o.fill(a, s.r, s.o)
	o.count(s.r.Method, now.Sub(s.r.Began), err)
}

// refuse makes the answer of an operation that was not opened.
func (o *outbox) refuse(a *wire.Answer) {
	last := len(o.refused) - 1
	r := o.refused[last]
	o.refused = o.refused[:last]
	a.Id = r.id
	o.took.refusals++
	o.took.memory += refusalBytes
	o.fail(a, r.err)
	o.count(o.server.methods.Methods[r.method], 0, r.err)
}

// maxKept is the size of the memory for bodies that is kept for the next message.
const maxKept = 64 << 10

// clear forgets a message that was sent.
func (o *outbox) clear() {
	clear(o.answers[:len(o.message.Answers)])
	o.message.Answers, o.bodies, o.took = o.message.Answers[:0], o.bodies[:0], load{}
	o.failed, o.detail = nil, nil
	if cap(o.bodies) > maxKept {
		o.bodies = nil
	}
}

// count records an answer in the metrics. An unknown method has no label.
func (o *outbox) count(m *method.Method, took time.Duration, err error) {
	if o.counts && m != nil {
		m.Latency.Answered(took, err)
	}
}

// fill writes the answer of an operation, and returns its error.
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
	if e, _ := err.(*interrex.Error); e == nil || o.failed != e {
		o.failed, o.detail = e, o.server.checker.Detail(err)
	}
	a.Result = &interrexv1.Answer_Error{Error: o.detail}
}
