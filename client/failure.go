package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// broken ends the calls that were sent on a connection that is gone. When it
// never answered anything, those that wait end too, and no other connection is
// tried for a while.
func (s *Stream) broken(err error, answered int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancels = s.cancels[:0]
	if answered > 0 && s.life.Err() == nil {
		s.failures, s.refused = 0, nil
		s.failOpen(func(op *interrexv1.StreamOperation) error { return s.lost(op, err) })
		if len(s.waiting) > 0 {
			s.wake()
		}
		return
	}
	pause := min(maxReconnect, minReconnect<<min(s.failures, 10))
	pause = pause/2 + rand.N(pause/2)
	s.failures++
	s.refused, s.retryAt = err, time.Now().Add(pause)
	unsent := s.unavailable(err, pause)
	s.failOpen(func(op *interrexv1.StreamOperation) error {
		if wire.NeverLeft(err) || s.refusal(err) != nil {
			return unsent
		}
		return s.lost(op, err)
	})
	for i, c := range s.waiting {
		s.waiting[i] = nil
		if c.op != nil {
			c.fail(unsent)
		}
	}
	s.waiting = s.waiting[:0]
	s.config.Logger.Debugf("the stream to %s broke: %s", s.config.BaseURL, reason(err))
}

// failOpen ends the calls that were sent.
func (s *Stream) failOpen(why func(op *interrexv1.StreamOperation) error) {
	for id, c := range s.open {
		delete(s.open, id)
		c.fail(why(c.op))
	}
}

// refusal is the agent's refusal, for good, of a whole stream; nil: it is none.
func (s *Stream) refusal(err error) error {
	classified := wire.FromError(err, true)
	if kind := interrex.KindOf(classified); kind.Retryable() || kind == interrex.KindOutcomeUnknown {
		return nil
	}
	return classified
}

// lost is the error of an operation that was sent on a connection that broke.
func (s *Stream) lost(op *interrexv1.StreamOperation, err error) error {
	kind := interrex.KindOutcomeUnknown
	if isRead(op) {
		kind = interrex.KindUnavailable
	}
	return interrex.Errorf(kind, "the stream to %s broke before its answer: %s", s.config.BaseURL, reason(err)).WithCause(err)
}

// reason gives an error's text without the code that a library put before it.
func reason(err error) string {
	if answered := (*connect.Error)(nil); errors.As(err, &answered) {
		return answered.Message()
	}
	return err.Error()
}

// unavailable is the error of an operation that was not sent.
func (s *Stream) unavailable(err error, wait time.Duration) error {
	if refusal := s.refusal(err); refusal != nil {
		return refusal
	}
	e := interrex.Errorf(interrex.KindUnavailable, "%s cannot be reached: %s", s.config.BaseURL, reason(err)).WithCause(err)
	e.RetryAfter = max(wire.RetryAfter(wire.FromError(err, false)), wait)
	return e
}

// isRead reports whether an operation changes nothing.
func isRead(op *interrexv1.StreamOperation) bool {
	switch op.Request.(type) {
	case *interrexv1.StreamOperation_Get, *interrexv1.StreamOperation_List,
		*interrexv1.StreamOperation_History, *interrexv1.StreamOperation_ReadIndex:
		return true
	}
	return false
}
