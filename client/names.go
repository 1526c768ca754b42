package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/callstream"
	"github.com/interrex/interrex/internal/hold"
)

// window is how far a number may be above the mark: the agents' state keeps this many
// records for a name.
const window = 1024

// names numbers the requests of one client: NAME.N. The state allots the names. One
// serves the requests that do not wait; each waiting claim has its own, so that it does
// not hold back the mark of the others. Names are reused.
type names struct {
	// allot asks for a name with random bits; with the same bits it finds the name that
	// it made.
	allot   func(ctx context.Context, bits uint64) (text string, at interrex.Revision, err error)
	heard   atomic.Uint64 // the greatest revision that is known
	opening chan struct{} // has room for the one caller who opens main

	mu    sync.Mutex
	main  *name            // for the requests that do not wait; nil until it is opened
	idle  []*name          // for the next waiting claims
	known map[string]*name // that are used, or have open requests
	bits  []uint64         // of openings that were not answered
}

// name is one NAME. Its mark is the lowest open number, or the next one if none is
// open: every request below it is answered or abandoned.
type name struct {
	text  string
	at    interrex.Revision // at which it was allotted
	next  uint64
	mark  uint64
	open  [window]bool // by number, from mark to next
	count int          // of the open ones
	gone  bool         // the state has dropped it: nothing is numbered under it any more
}

func newNames(allot func(ctx context.Context, bits uint64) (string, interrex.Revision, error)) *names {
	return &names{allot: allot, opening: make(chan struct{}, 1), known: map[string]*name{}}
}

// hear records a revision that the cluster has reached.
func (s *names) hear(r interrex.Revision) {
	for {
		heard := s.heard.Load()
		if uint64(r) <= heard || s.heard.CompareAndSwap(heard, uint64(r)) {
			return
		}
	}
}

// Open numbers a new request: see hold.IDs. If the name's window is full of numbers above
// one that is still open, the error is ErrOverloaded.
func (s *names) Open(ctx context.Context, waits bool) (hold.ID, error) {
	n := s.ready(waits)
	if n == nil && !waits { // one caller at a time opens that name
		select {
		case s.opening <- struct{}{}:
			defer func() { <-s.opening }()
			n = s.ready(false)
		case <-ctx.Done():
			return hold.ID{}, interrex.Errorf(interrex.ErrTimeout, "nothing was sent and nothing has happened: %v", context.Cause(ctx)).WithCause(errors.Join(ctx.Err(), context.Cause(ctx)))
		}
	}
	if n == nil {
		var err error
		if n, err = s.fresh(ctx, waits); err != nil {
			return hold.ID{}, err
		}
	}
	return s.number(n, waits)
}

// ready returns a name for a request; a waiting claim does not share its name. nil: a new
// one must be opened.
func (s *names) ready(waits bool) *name {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !waits {
		if s.main == nil || s.main.gone {
			return nil
		}
		return s.main
	}
	for len(s.idle) > 0 {
		n := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if !n.gone {
			return n
		}
	}
	return nil
}

// fresh opens a new name.
func (s *names) fresh(ctx context.Context, waits bool) (*name, error) {
	bits := s.someBits()
	text, at, err := s.allot(ctx, bits)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.bits = append(s.bits, bits)
		return nil, unopened(err)
	}
	n := &name{text: text, at: at, next: 1, mark: 1}
	s.known[text] = n
	if !waits {
		s.main = n
	}
	return n, nil
}

// someBits returns random bits for a name: those of an opening that was not answered, or
// new ones.
func (s *names) someBits() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.bits) - 1; last >= 0 {
		bits := s.bits[last]
		s.bits = s.bits[:last]
		return bits
	}
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // it never fails
		if bits := binary.BigEndian.Uint64(b[:]); bits != 0 {
			return bits
		}
	}
}

// unopened returns the error of a request that has no name: it was not sent.
func unopened(err error) error {
	var e *interrex.Error
	if !errors.As(err, &e) || e.Kind != interrex.ErrOutcomeUnknown {
		return err
	}
	told := *e
	told.Kind, told.Message = interrex.ErrUnavailable, "nothing has happened: no name for its request id: "+e.Message
	return told.WithCause(err)
}

// number numbers a request under a name. What is known before its first attempt tells
// later whether it was done, if the name is gone by then.
func (s *names) number(n *name, waits bool) (hold.ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.next == n.mark+window {
		e := interrex.Errorf(interrex.ErrOverloaded, "request %s.%d is still open, and %d were numbered after it", n.text, n.mark, window-1)
		e.RetryAfter = callstream.OverloadPause
		return hold.ID{}, e
	}
	number, knew := n.next, max(n.at, interrex.Revision(s.heard.Load()))
	n.open[number%window] = true
	n.next++
	n.count++
	return hold.ID{
		Text:  n.text + "." + strconv.FormatUint(number, 10),
		Done:  func() { s.done(n, number, waits) },
		Moves: func(err error) bool { return s.moves(n, knew, err) },
	}, nil
}

// moves records that a name is gone, and reports whether nothing was done of a request
// whose caller knew a revision before its first attempt: no record after that was
// dropped.
func (s *names) moves(n *name, knew interrex.Revision, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.gone = true
	var e *interrex.Error
	return errors.As(err, &e) && e.Lost <= knew
}

// done closes a number, which may move the mark.
func (s *names) done(n *name, number uint64, waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.open[number%window] = false
	n.count--
	for n.mark < n.next && !n.open[n.mark%window] {
		n.mark++
	}
	switch {
	case n.gone && n.count == 0:
		delete(s.known, n.text)
	case waits && !n.gone:
		s.idle = append(s.idle, n)
	}
}

// mark returns the mark to send with an attempt. An id of another client has none.
func (s *names) mark(id string) uint64 {
	text, _, _ := strings.Cut(id, ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.known[text]; n != nil {
		return n.mark
	}
	return 0
}

// retire removes all names, and returns the mark of each that is to be given back.
func (s *names) retire() map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	marks := map[string]uint64{}
	for text, n := range s.known {
		if !n.gone {
			marks[text] = n.mark
		}
		n.gone = true
	}
	clear(s.known)
	return marks
}
