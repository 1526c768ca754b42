package client

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// lying is a stream that never connects: what is submitted lies in line.
func lying(t *testing.T, room int) *Stream {
	t.Helper()
	return &Stream{
		config: StreamConfig{BaseURL: "http://x", MaxOpen: room}, life: t.Context(),
		work: make(chan struct{}, 1), open: map[uint64]*call{},
	}
}

// submitted submits an operation; its answer is in err once done is true.
func (s *Stream) submitted() (c *call, answer *error) {
	answer = new(error)
	c = &call{op: &interrexv1.Operation{}, done: func(_ []byte, err error) { *answer = err }}
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
	_, err := s.submitted() // and one waits
	if !errors.Is(*err, interrex.ErrOverloaded) || wire.RetryAfter(*err) <= 0 {
		t.Errorf("the third: %v", *err)
	}
}

func TestAnAgentThatWasNotReachedIsLeftAloneForAWhile(t *testing.T) {
	s := lying(t, 2)
	s.refused, s.retryAt = errors.New("no way"), time.Now().Add(time.Hour)
	if _, err := s.submitted(); !errors.Is(*err, interrex.ErrUnavailable) || wire.RetryAfter(*err) <= 0 {
		t.Errorf("at once: %v", *err)
	}
	s.retryAt = time.Now()
	if _, err := s.submitted(); *err != nil {
		t.Errorf("when the while is over: %v", *err)
	}
}

func TestAStreamThatIsClosedTakesNothingEverAgain(t *testing.T) {
	s, err := NewStream(StreamConfig{HTTP: http.DefaultClient, BaseURL: "http://x"})
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
	for range 3 { // the agent is told of no more than it may have open
		sent, answer := s.submitted()
		s.take(&interrexv1.OperateRequest{})
		s.cancels = append(s.cancels, 1)
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
