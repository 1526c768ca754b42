package callstream

import (
	"errors"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/wire"
)

// broken ends the calls that were sent on a connection that broke: whatever ended it,
// they may have been done. If it never answered anything, the waiting calls end too, and
// reconnecting is delayed.
func (s *Stream) broken(err error, answered int) {
	lost := s.lost(err)
	s.mu.Lock()
	s.cancels = s.cancels[:0]
	sent := s.takeOpen()
	var unsent []*call
	var never error
	if answered > 0 && s.life.Err() == nil {
		s.failures, s.refused = 0, nil
		if len(s.waiting) > 0 {
			s.wake()
		}
	} else {
		pause := backoff.Next(minReconnect, maxReconnect, s.failures)
		s.failures++
		s.refused, s.retryAt = err, time.Now().Add(pause)
		never = s.unavailable(err, pause)
		unsent = s.takeWaiting()
	}
	s.mu.Unlock()
	for _, c := range sent {
		c.answer(nil, lost)
	}
	for _, c := range unsent {
		c.answer(nil, never)
	}
	if never != nil {
		s.config.Logger.Debugf("the stream to %s broke: %s", s.config.BaseURL, Reason(err))
	}
}

// takeOpen removes and returns the calls that were sent.
func (s *Stream) takeOpen() (calls []*call) {
	for id, c := range s.open {
		delete(s.open, id)
		c.op = nil
		calls = append(calls, c)
	}
	return calls
}

// takeWaiting removes and returns the calls that were not sent.
func (s *Stream) takeWaiting() (calls []*call) {
	for i, c := range s.waiting {
		s.waiting[i] = nil
		if c.op != nil {
			c.op = nil
			calls = append(calls, c)
		}
	}
	s.waiting = s.waiting[:0]
	return calls
}

// refusal returns the agent's final rejection of a whole stream; nil if err is
// not one.
func (s *Stream) refusal(err error) error {
	classified := wire.FromError(err, true)
	if kind := interrex.KindOf(classified); kind.Retryable() || kind == interrex.ErrOutcomeUnknown {
		return nil
	}
	return classified
}

// lost returns the error of an operation that was sent on a connection that broke. A
// stopping agent ends a stream once it has answered everything that it has read
// there: an operation without an answer has not happened.
func (s *Stream) lost(err error) error {
	if stops := wire.FromError(err, true); interrex.KindOf(stops) == interrex.ErrDraining {
		return stops
	}
	return interrex.Errorf(interrex.ErrOutcomeUnknown, "the stream to %s broke before its answer: %s", s.config.BaseURL, Reason(err)).WithCause(err)
}

// Reason returns an error's text without the code that a library prepends.
func Reason(err error) string {
	if IsSilent(err) {
		return ErrSilent.Error()
	}
	if answered := (*connect.Error)(nil); errors.As(err, &answered) {
		return answered.Message()
	}
	return err.Error()
}

// unavailable returns the error of an operation that was not sent.
func (s *Stream) unavailable(err error, wait time.Duration) error {
	if refusal := s.refusal(err); refusal != nil {
		return refusal
	}
	e := interrex.Errorf(interrex.ErrUnavailable, "%s cannot be reached: %s", s.config.BaseURL, Reason(err)).WithCause(err)
	e.RetryAfter = max(interrex.RetryAfter(wire.FromError(err, false)), wait)
	return e
}
