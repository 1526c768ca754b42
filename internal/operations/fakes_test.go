package operations

import (
	"context"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// fixed is a fixed Leadership.
type fixed struct{ l interrex.Leadership }

func (c fixed) Current() interrex.Leadership { return c.l }

// panicking is a Reads that panics.
type panicking struct{}

func (panicking) Index(context.Context) (uint64, error) { panic("no index") }

// indexed is a Reads for which everything is applied.
type indexed struct{}

func (indexed) Index(context.Context) (uint64, error) { return 0, nil }

// scripted is a forwarder with scripted errors, in order, and then without errors.
type scripted struct {
	mu      sync.Mutex
	answers []error
	calls   []*interrexv1.Operation
}

func (s *scripted) Send(ops []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	for i, op := range ops {
		done(i, nil, s.next(op))
	}
	return func(int) {}
}

func (s *scripted) next(op *interrexv1.Operation) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, op)
	if len(s.answers) == 0 {
		return nil
	}
	err := s.answers[0]
	s.answers = s.answers[1:]
	return err
}

// mute answers only abandoned operations.
type mute struct{ scripted }

func (s *mute) Send(ops []*interrexv1.Operation, done func(int, []byte, error)) (abandon func(int)) {
	for _, op := range ops {
		_ = s.next(op)
	}
	return func(i int) { done(i, nil, interrex.Errorf(interrex.ErrOutcomeUnknown, "abandoned")) }
}
