package operations

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
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

// next makes the next message, of at most maxMessages answers; false: there is
// nothing left to say.
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

// count counts an answer. A number that is no method's has no name to count
// under.
func (o *outbox) count(m *method.Method, took time.Duration, err error) {
	if o.counts && m != nil {
		m.Latency.Answered(took, err)
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
	a.Result = &interrexv1.Answer_Error{Error: o.server.standing.Detail(err)}
}
