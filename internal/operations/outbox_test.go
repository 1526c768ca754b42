package operations

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/fifo"
	"github.com/interrex/interrex/internal/method"
)

// outcomeOf returns an outcome of each sort in turn, and the content of its answer.
func outcomeOf(id uint64) (o outcome, want string) {
	switch id % 3 {
	case 0:
		return outcome{err: interrex.Errorf(interrex.ErrHeld, "held %d", id)}, fmt.Sprint("held ", id)
	case 1:
		return outcome{body: fmt.Append(nil, "body ", id)}, fmt.Sprint("body ", id)
	}
	m := &interrexv1.RetireRequest{Name: fmt.Sprint(id)}
	b, _ := proto.Marshal(m)
	return outcome{message: m}, string(b)
}

// newTestOperator returns a Server without a state.
func newTestOperator() *Server {
	stands := consistency.New(consistency.Config{Leadership: fixed{}, Logger: silent{}})
	return New(Config{Clock: clock.WallClock}, stands, &method.Registry{}, admission.NewCalls(nil))
}

// answerable returns a request for which an answer can be made.
func answerable(id uint64) *request {
	r := &request{Call: method.ToLeader(&method.Method{}, admission.Caller{}, nil, time.Time{})}
	r.Envelope.Id = id
	return r
}

func TestAnOutboxAnswersEachOnceInMessagesThatHaveABound(t *testing.T) {
	out := outbox{server: newTestOperator()}
	const settle, refuse = maxMessages + 100, 50
	for round := range 2 { // its memory is used again
		want := map[uint64]string{}
		for id := uint64(round); id < settle; id++ { // another sort in each place
			o, text := outcomeOf(id)
			out.reads.Push(settled{answerable(id), o})
			want[id] = text
		}
		for id := uint64(settle); id < settle+refuse; id++ {
			out.refused = append(out.refused, refused{id, 0, interrex.Errorf(interrex.ErrInvalid, "refused %d", id)})
			want[id] = fmt.Sprint("refused ", id)
		}
		for n := 0; out.next(); n++ {
			if got := len(out.message.Answers); got == 0 || got > maxMessages || n > 1 {
				t.Fatalf("message %d has %d answers", n, got)
			}
			if got := out.took.answers + out.took.refusals; got != len(out.message.Answers) {
				t.Fatalf("message %d has %d answers, and %d are counted", n, len(out.message.Answers), got)
			}
			for _, a := range out.message.Answers {
				if got := a.GetError().GetMessage() + string(a.GetBody()); got != want[a.Id] || want[a.Id] == "" {
					t.Fatalf("round %d: operation %d is answered %q, want %q", round, a.Id, got, want[a.Id])
				}
				delete(want, a.Id)
			}
			out.clear()
		}
		if len(want) > 0 {
			t.Errorf("round %d: %d are not answered", round, len(want))
		}
		for i := range out.answers {
			if out.answers[i].GetResult() != nil {
				t.Fatal("what is answered is kept alive")
			}
		}
	}
}

func TestAMessageOfLargeAnswersEndsEarly(t *testing.T) {
	const size, all = 10_000, 500 // 5 MB
	for what, fill := range map[string]func(*outbox, uint64){
		"bodies": func(out *outbox, id uint64) {
			out.reads.Push(settled{answerable(id), outcome{body: make([]byte, size)}})
		},
		"errors": func(out *outbox, id uint64) {
			out.refused = append(out.refused, refused{id, 0, interrex.Errorf(interrex.ErrInvalid, "%s", strings.Repeat("x", size))})
		},
	} {
		out := outbox{server: newTestOperator()}
		for id := range uint64(all) {
			fill(&out, id)
		}
		answers := 0
		for ; out.next(); out.clear() {
			answers += len(out.message.Answers)
			if n := proto.Size(&out.message); n > maxAnswerBytes+2*size {
				t.Errorf("%s: a message of %d bytes", what, n)
			}
		}
		if answers != all {
			t.Errorf("%s: %d answers", what, answers)
		}
	}
}

// An extend that is answered while a list is being sent is in the next message, before
// the lists that are left.
func TestWritesAreAnsweredBeforeReads(t *testing.T) {
	out := outbox{server: newTestOperator()}
	for id := range uint64(4) {
		out.reads.Push(settled{answerable(id), outcome{body: make([]byte, maxAnswerBytes)}})
	}
	var order []uint64
	for round := 0; out.next(); round++ {
		for _, a := range out.message.Answers {
			order = append(order, a.Id)
		}
		if out.clear(); round == 1 {
			late := fifo.Queue[settled]{}
			late.Push(settled{answerable(9), outcome{body: []byte("extended")}})
			move(&late, &out.writes)
		}
	}
	if want := []uint64{0, 1, 9, 2, 3}; !slices.Equal(order, want) {
		t.Errorf("answered in the order %v, want %v", order, want)
	}
}

func TestWhatIsMovedComesAfterWhatWasThere(t *testing.T) {
	var from, to fifo.Queue[settled]
	to.Push(settled{answerable(1), outcome{}})
	from.Push(settled{answerable(2), outcome{}})
	from.Push(settled{answerable(3), outcome{}})
	move(&from, &to)
	var order []uint64
	for _, s := range to.Items() {
		order = append(order, s.r.Envelope.GetId())
	}
	if from.Len() != 0 || !slices.Equal(order, []uint64{1, 2, 3}) {
		t.Errorf("%v, and %d are left", order, from.Len())
	}
}

func TestALargeMessagesMemoryIsNotKept(t *testing.T) {
	out := outbox{server: newTestOperator()}
	for _, size := range []int{maxKept / 2, maxAnswerBytes} {
		out.reads.Push(settled{answerable(1), outcome{message: &interrexv1.RetireRequest{Name: strings.Repeat("x", size)}}})
		if !out.next() {
			t.Fatal("no message")
		}
		if out.clear(); cap(out.bodies) > maxKept || size <= maxKept/2 && cap(out.bodies) == 0 {
			t.Errorf("after an answer of %d bytes %d are kept", size, cap(out.bodies))
		}
	}
}

// Answers with the same error share what it is on the wire.
func TestEachAnswerHasItsOwnError(t *testing.T) {
	out := outbox{server: newTestOperator(), counts: true}
	held := interrex.Errorf(interrex.ErrHeld, "held by ann")
	all := []error{errors.New("first"), errors.New("second"), held, held, interrex.Errorf(interrex.ErrHeld, "held by bob")}
	for id, err := range all {
		out.refused = append(out.refused, refused{uint64(id), 1 << 30, err}) // no method has that number
	}
	if !out.next() || len(out.message.Answers) != len(all) {
		t.Fatalf("%d answers", len(out.message.Answers))
	}
	for _, a := range out.message.Answers {
		if want := all[a.Id].Error(); !strings.Contains(want, a.GetError().GetMessage()) || a.GetError().GetMessage() == "" {
			t.Errorf("%q is answered %q", want, a.GetError().GetMessage())
		}
	}
}
