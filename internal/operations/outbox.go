package operations

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
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
	settled []settled
	refused []refused
	made    int // number of settled that were encoded
	message interrexv1.OperateResponse
	answers []wire.Answer
	bodies  []byte
}

// maxAnswerBytes is the size at which a message of answers is full.
const maxAnswerBytes = 1 << 20

// next makes the next message, of at most maxMessages answers, and reports whether
// there is one.
func (o *outbox) next() bool {
	n := min(len(o.settled)-o.made+len(o.refused), maxMessages)
	if n == 0 {
		clear(o.settled)
		o.settled, o.made = o.settled[:0], 0
		return false
	}
	if cap(o.answers) < n {
		o.answers = make([]wire.Answer, maxMessages)
	}
	o.message.Answers, o.bodies = o.message.Answers[:0], o.bodies[:0]
	bytes, now := 0, o.server.config.Clock.Now()
	for i := 0; i < n && bytes < maxAnswerBytes; i++ {
		a := &o.answers[:n][i]
		if o.made < len(o.settled) {
			s := &o.settled[o.made]
			a.Id = s.r.Envelope.GetId()
			err := o.fill(a, s.r, s.o)
			o.count(s.r.Method, now.Sub(s.r.Began), err)
			o.made++
		} else {
			last := len(o.refused) - 1
			a.Id = o.refused[last].id
			o.fail(a, o.refused[last].err)
			o.count(o.server.methods.Methods[o.refused[last].method], 0, o.refused[last].err)
			o.refused = o.refused[:last]
		}
		bytes += len(a.GetBody()) + proto.Size(a.GetError())
		o.message.Answers = append(o.message.Answers, &a.Answer)
	}
	return true
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
	a.Result = &interrexv1.Answer_Error{Error: o.server.checker.Detail(err)}
}
