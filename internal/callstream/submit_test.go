package callstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/internal/wire"
)

// lying returns a stream that never connects: submitted operations stay queued.
func lying(t *testing.T, room int) *Stream {
	t.Helper()
	return &Stream{
		config: Config{BaseURL: "http://x", MaxOpen: room}, life: t.Context(),
		work: make(chan struct{}, 1), open: map[uint64]*call{},
	}
}

// submitted submits an operation; its answer is in err once done is true.
func (s *Stream) submitted() (c *call, answer *error) {
	answer = new(error)
	c = &call{op: &interrexv1.Operation{}, done: func(_ int, _ []byte, err error) { *answer = err }}
	s.submit(c)
	return c, answer
}

func TestWhatWaitsToBeSentTakesRoomAsWhatIsOpenDoes(t *testing.T) {
	s := lying(t, 2)
	_, _ = s.submitted()
	s.take(&interrexv1.OperateRequest{}) // one is open
	if _, err := s.submitted(); *err != nil {
		t.Fatal(*err)
	}
	third, err := s.submitted() // and one waits
	if !errors.Is(*err, interrex.ErrOverloaded) || interrex.RetryAfter(*err) <= 0 {
		t.Errorf("the third: %v", *err)
	}
	*err = nil
	if s.abandon(third, context.Canceled); *err != nil {
		t.Error("what was refused is answered twice")
	}
}

func TestACallThatWasGivenUpIsNotUsedAgainWhileItIsInLine(t *testing.T) {
	s := lying(t, 10)
	s.waits.New = func() any { return newWait() }
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if _, err := s.Call(gone, &interrexv1.Operation{}); !errors.Is(err, interrex.ErrTimeout) {
			t.Fatal(err)
		}
	}
	if w := s.waiting; w[0] == w[1] || w[1] == w[2] || w[0] == w[2] {
		t.Error("one stands in line for another")
	}
}

func TestCancelsGoToTheConnectionThatHasTheirCalls(t *testing.T) {
	s := lying(t, 2*maxOperations)
	for id := range uint64(maxOperations + 10) {
		s.cancels = append(s.cancels, id)
	}
	m := &interrexv1.OperateRequest{}
	for i, want := range []int{maxOperations, 10, 0} {
		if s.take(m); len(m.Cancels) != want || want > 0 && m.Cancels[0] != uint64(i*maxOperations) {
			t.Errorf("message %d has %d cancels", i, len(m.Cancels))
		}
	}
	s.cancels = append(s.cancels, 1)
	if !s.idle() || len(s.cancels) != 0 {
		t.Errorf("a cancel connects, or is kept: %v", s.cancels)
	}
	s.cancels = append(s.cancels, 1)
	if s.broken(errors.New("it broke"), 1); len(s.cancels) != 0 {
		t.Errorf("kept for the next connection: %v", s.cancels)
	}
}

func TestAnOperationThatIsMoreThanAMessageGoesAlone(t *testing.T) {
	s := lying(t, 10)
	for _, bytes := range []int{10, maxMessage + 1, 10} {
		s.waiting = append(s.waiting, &call{op: &interrexv1.Operation{Id: uint64(len(s.waiting)), Body: make([]byte, bytes)}})
	}
	m := &interrexv1.OperateRequest{}
	for i := range 3 {
		if s.take(m); len(m.Operations) != 1 || m.Operations[0].Id != uint64(i) {
			t.Errorf("message %d has %d operations", i, len(m.Operations))
		}
	}
}

func TestABreakEndsWhatWaitsIfTheStreamIsClosedOrNobodyAnswered(t *testing.T) {
	for _, test := range []struct {
		what     string
		closed   bool
		answered int
		err      error
		sent     error
		waits    error
	}{
		{"it broke", false, 1, errors.New("it broke"), interrex.ErrOutcomeUnknown, nil},
		{"it never answered", false, 0, errors.New("it broke"), interrex.ErrOutcomeUnknown, interrex.ErrUnavailable},
		{"its caller's token was revoked", false, 0, wire.Error(interrex.Errorf(interrex.ErrUnauthenticated, "go away")), interrex.ErrOutcomeUnknown, interrex.ErrUnauthenticated},
		{"it was closed", true, 1, errClosed, interrex.ErrOutcomeUnknown, interrex.ErrUnavailable},
	} {
		s := lying(t, 10)
		s.config.Logger = silent.Logger{}
		s.failures, s.refused = 3, errors.New("the one before")
		ctx, cancel := context.WithCancel(t.Context())
		if s.life = ctx; test.closed {
			cancel()
		}
		var sent, waits error
		for _, to := range []*error{&sent, &waits} {
			s.lastID++
			c := &call{op: &interrexv1.Operation{Id: s.lastID}, done: func(_ int, _ []byte, err error) { *to = err }}
			if to == &sent {
				s.open[s.lastID] = c
			} else {
				s.waiting = append(s.waiting, c)
			}
		}
		s.broken(test.err, test.answered)
		cancel()
		if !errors.Is(sent, test.sent) || !errors.Is(waits, test.waits) || len(s.open) != 0 || (len(s.waiting) == 1) != (test.waits == nil) {
			t.Errorf("%s: what was sent: %v; what waits: %v", test.what, sent, waits)
		}
		if goesOn := test.waits == nil; (len(s.work) == 1) != goesOn || (s.refused == nil) != goesOn || (s.failures == 0) != goesOn || (s.failures == 4) == goesOn {
			t.Errorf("%s: connects again: %d, %v, %d failures", test.what, len(s.work), s.refused, s.failures)
		}
	}
}

func TestAnAgentThatWasNotReachedIsLeftAloneForAWhile(t *testing.T) {
	s := lying(t, 2)
	s.refused, s.retryAt = errors.New("no way"), time.Now().Add(time.Hour)
	if _, err := s.submitted(); !errors.Is(*err, interrex.ErrUnavailable) || interrex.RetryAfter(*err) <= 0 {
		t.Errorf("at once: %v", *err)
	}
	s.retryAt = time.Now()
	if _, err := s.submitted(); *err != nil {
		t.Errorf("when the while is over: %v", *err)
	}
}

func TestAStreamThatIsClosedTakesNothingEverAgain(t *testing.T) {
	s, err := New(Config{HTTP: http.DefaultClient, BaseURL: "http://x"})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s.refused, s.retryAt = nil, time.Time{} // long after
	if _, err := s.submitted(); !errors.Is(*err, interrex.ErrUnavailable) {
		t.Errorf("got %v", *err)
	}
}

func TestACallIsAbandonedOnceAndNotAfterItsAnswer(t *testing.T) {
	s := lying(t, 2)
	never, answer := s.submitted()
	s.abandon(never, context.Canceled)
	if !errors.Is(*answer, interrex.ErrTimeout) || len(s.cancels) != 0 {
		t.Errorf("before it was sent: %v, cancels %v", *answer, s.cancels)
	}
	*answer = nil
	s.abandon(never, context.Canceled)
	if *answer != nil {
		t.Error("it is answered twice")
	}
	{ // the agent is told of no more than may be open
		sent, answer := s.submitted()
		s.take(&interrexv1.OperateRequest{})
		s.cancels = []uint64{7, 8}
		s.abandon(sent, context.Canceled)
		if !errors.Is(*answer, interrex.ErrOutcomeUnknown) || len(s.open) != 0 || len(s.cancels) > 2 {
			t.Errorf("after it was sent: %v, %d open, cancels %v", *answer, len(s.open), s.cancels)
		}
	}
	done, answer := s.submitted()
	s.take(&interrexv1.OperateRequest{})
	s.deliver([]*interrexv1.Answer{{Id: done.op.Id}})
	s.abandon(done, context.Canceled)
	if *answer != nil || len(s.open) != 0 {
		t.Errorf("after its answer: %v", *answer)
	}
}

func TestWhoHasGoneIsNotAnsweredByABreak(t *testing.T) {
	s := lying(t, 10)
	s.config.Logger = silent.Logger{}
	gone, answer := s.submitted()
	s.abandon(gone, context.Canceled)
	*answer = nil
	sent := &call{op: &interrexv1.Operation{Id: 9}, done: func(int, []byte, error) {}}
	s.open[9] = sent
	if s.broken(errors.New("it broke"), 0); *answer != nil || sent.op != nil {
		t.Errorf("answered twice: %v, or may be: %v", *answer, sent.op)
	}
}

func TestAnAgentThatRefusesAStreamSaysWhenToComeAgain(t *testing.T) {
	refusal := interrex.Errorf(interrex.ErrDraining, "bye")
	refusal.RetryAfter = time.Minute
	s := lying(t, 10)
	for _, test := range []struct{ pause, want time.Duration }{{time.Second, time.Minute}, {time.Hour, time.Hour}} {
		if got := interrex.RetryAfter(s.unavailable(wire.Error(refusal), test.pause)); got != test.want {
			t.Errorf("of a minute and %v: %v", test.pause, got)
		}
	}
}

func TestAMessageHoldsWhatWaitsWithinItsBounds(t *testing.T) {
	s := &Stream{open: map[uint64]*call{}}
	put := func(bytes int) {
		op := &interrexv1.Operation{Id: uint64(len(s.waiting) + 1), Body: make([]byte, bytes)}
		s.waiting = append(s.waiting, &call{op: op})
	}
	for range 1500 {
		put(10)
	}
	s.waiting[3].op = nil // its caller has gone
	s.cancels = []uint64{77}
	s.lastID = 1500
	m := &interrexv1.OperateRequest{}
	s.take(m)
	if ops := m.Operations; len(ops) != maxOperations || m.Cancels[0] != 77 || ops[3].Id != 5 || len(s.open) != maxOperations || len(s.waiting) != 1500-maxOperations-1 {
		t.Errorf("%d operations, %d open, %d wait", len(ops), len(s.open), len(s.waiting))
	}
	s.waiting = nil
	for range 10 {
		put(200 << 10)
	}
	total := 0
	for range 3 {
		m := &interrexv1.OperateRequest{}
		s.take(m)
		total += len(m.Operations)
		if size := proto.Size(m); size > maxMessage+1<<10 {
			t.Errorf("a message of %d bytes", size)
		}
	}
	if total != 10 || len(s.waiting) != 0 {
		t.Errorf("%d operations in 3 messages, %d wait", total, len(s.waiting))
	}
}

func TestWhatABreakHasAnsweredIsNotAnsweredAgain(t *testing.T) {
	s := lying(t, 10)
	s.config.Logger = silent.Logger{}
	c, answer := s.submitted()
	if s.broken(errors.New("it broke"), 0); !errors.Is(*answer, interrex.ErrUnavailable) {
		t.Errorf("%v", *answer)
	}
	*answer = nil
	if s.abandon(c, context.Canceled); *answer != nil {
		t.Errorf("it is answered again: %v", *answer)
	}
	if _, next := s.submitted(); !errors.Is(*next, interrex.ErrUnavailable) || interrex.RetryAfter(*next) <= 0 {
		t.Errorf("the next call does not wait before another connection: %v", *next)
	}
}

func TestWhatAStoppingAgentHasNotReadHasNotHappened(t *testing.T) {
	s := &Stream{config: Config{BaseURL: "http://a"}}
	stops := interrex.Errorf(interrex.ErrDraining, "this agent is stopping; nothing has happened")
	if err := s.lost(wire.Error(stops)); !errors.Is(err, interrex.ErrDraining) {
		t.Errorf("of an agent that stops: %v", err)
	}
	if err := s.lost(io.ErrUnexpectedEOF); !errors.Is(err, interrex.ErrOutcomeUnknown) {
		t.Errorf("of a connection that broke: %v", err)
	}
}
