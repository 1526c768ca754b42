package consistency

import (
	"context"
	"errors"
	"sync"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
)

// maxAsks is how many requests for a log index are under way to the leader at a time.
// Reads that come meanwhile share the next one.
const maxAsks = 4

// asks are the requests of linearizable reads to the leader. A read uses only one that
// begins after it.
type asks struct {
	mu    sync.Mutex
	begun int
	next  *ask // that of reads that wait; nil: none do
}

// ask is one request to the leader, of some reads.
type ask struct {
	ctx     context.Context
	end     context.CancelFunc
	caller  admission.Caller // the first of them
	readers int
	begun   bool
	done    chan struct{}

	index uint64 // read once done is closed
	err   error
}

// askLeader requests a log index from the leader, together with others.
func (s *Checker) askLeader(ctx context.Context, c admission.Caller) (uint64, error) {
	a := s.join(ctx, c)
	select {
	case <-a.done:
		return a.index, a.err
	case <-ctx.Done():
		s.leave(a)
		return 0, s.unheard(ctx)
	}
}

// unheard returns the error of a read that ends before the leader has answered.
func (s *Checker) unheard(ctx context.Context) error {
	cause := context.Cause(ctx)
	switch l := s.Leadership.Current(); {
	case !errors.Is(cause, context.DeadlineExceeded):
		return cause
	case l.LeaderID == "":
		return s.NoLeader()
	default:
		return interrex.Errorf(interrex.ErrTimeout, "cannot read strongly from agent %s: the leader, %s, has not answered in time; try again, or read eventually", s.ID, l.LeaderID).WithCause(cause)
	}
}

// join joins the request that begins next, at once if few are under way.
func (s *Checker) join(ctx context.Context, c admission.Caller) *ask {
	s.asks.mu.Lock()
	defer s.asks.mu.Unlock()
	a := s.asks.next
	if a == nil {
		a = &ask{caller: c, done: make(chan struct{})}
		a.ctx, a.end = context.WithCancel(context.WithoutCancel(ctx))
		if s.asks.begun < maxAsks {
			a.begun = true
			s.asks.begun++
			go s.ask(a)
		} else {
			s.asks.next = a
		}
	}
	a.readers++
	return a
}

// leave ends a request that no read waits for any more.
func (s *Checker) leave(a *ask) {
	s.asks.mu.Lock()
	a.readers--
	last, begun := a.readers == 0, a.begun
	if last && !begun {
		s.asks.next = nil
	}
	s.asks.mu.Unlock()
	if last {
		a.end()
	}
	if last && begun {
		<-a.done
	}
}

func (s *Checker) make(a *ask) {
	defer s.Guard(interrexv1.StateServiceReadIndexProcedure, &a.err)
	a.index, a.err = s.AskLeader(a.ctx, a.caller)
}

// ask makes a request, and then those that wait.
func (s *Checker) ask(a *ask) {
	for a != nil {
		s.make(a)
		a.end()
		s.asks.mu.Lock()
		close(a.done)
		if a = s.asks.next; a != nil {
			a.begun, s.asks.next = true, nil
		} else {
			s.asks.begun--
		}
		s.asks.mu.Unlock()
	}
}
