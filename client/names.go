package client

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// Limits of request ids, which the agents' state shares.
const (
	// window is how far a number may be above the mark: the state keeps this many
	// records for a name.
	window = 1024
	// renewAfter is how long a name is used without an answer to what was sent
	// under it. The state keeps a name for twice as long.
	renewAfter = 12 * time.Hour
)

// names numbers the requests of one client: NAME.N. One name serves the requests
// that do not wait; each waiting claim has its own name, so that it does not hold
// back the mark of the others. Names are reused.
type names struct {
	clock hold.Clock

	mu    sync.Mutex
	main  *name
	idle  []*name          // for the next waiting claims
	known map[string]*name // in use, or retired with requests still open
}

// name is one NAME. Its mark is the lowest open number, or the next one if none is
// open: every request below it is answered or abandoned.
type name struct {
	text       string
	next       uint64
	mark       uint64
	open       [window]bool  // by number, from mark to next
	count      int           // of the open ones
	answeredAt time.Duration // when the latest answered attempt was sent
	over       bool          // retired: nothing more is sent under it
	used       bool          // a request was answered under it, so the state may know it
	inFlight   bool          // a copy of an attempt may still be in flight
}

func newNames(c hold.Clock) *names {
	return &names{clock: c, known: map[string]*name{}}
}

// Open numbers a new request: see hold.IDs. If the name's window is full of
// numbers above one that is still open, the error is ErrOverloaded.
func (s *names) Open(waits bool) (id string, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.use(waits)
	if n.next == n.mark+window {
		e := interrex.Errorf(interrex.ErrOverloaded, "request %s.%d is still open, and %d were numbered after it", n.text, n.mark, window-1)
		e.RetryAfter = overloadPause
		return "", nil, e
	}
	number := n.next
	n.open[number%window] = true
	n.next++
	n.count++
	done = func() { s.done(n, number, waits) }
	return n.text + "." + strconv.FormatUint(number, 10), done, nil
}

// use returns the name for a new request, a new one if the last is too old.
func (s *names) use(waits bool) *name {
	if !waits {
		if s.main == nil || s.old(s.main) {
			s.main = s.fresh()
		}
		return s.main
	}
	for len(s.idle) > 0 {
		n := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if !s.old(n) {
			return n
		}
	}
	return s.fresh()
}

// old retires a name under which nothing was answered for too long, and reports
// whether it did: the state may have dropped it, and would then execute a retry a
// second time.
func (s *names) old(n *name) bool {
	if !n.over && s.clock.Now() < n.answeredAt+renewAfter {
		return false
	}
	n.over = true
	s.forget(n)
	return true
}

// forget drops a retired name once nothing is open under it.
func (s *names) forget(n *name) {
	if n.over && n.count == 0 {
		delete(s.known, n.text)
	}
}

func (s *names) fresh() *name {
	n := &name{text: rand.Text(), next: 1, mark: 1, answeredAt: s.clock.Now()}
	s.known[n.text] = n
	return n
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
	s.forget(n)
	if waits && !n.over {
		s.idle = append(s.idle, n)
	}
}

// sending returns the mark to send with an attempt. Nothing more is sent under a
// retired name: the outcome is unknown. An id of another client has no mark.
func (s *names) sending(id string) (mark uint64, err error) {
	text, _, _ := strings.Cut(id, ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.known[text]
	if n == nil {
		return 0, nil
	}
	if s.old(n) {
		return 0, interrex.Errorf(interrex.ErrOutcomeUnknown, "request %s was abandoned: nothing was answered for %s", id, renewAfter)
	}
	return n.mark, nil
}

// answered records that an attempt sent at the given time was answered.
func (s *names) answered(id string, sent time.Duration) {
	text, _, _ := strings.Cut(id, ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.known[text]; n != nil {
		n.answeredAt, n.used = max(n.answeredAt, sent), true
	}
}

// unanswered records that an attempt got no response: a copy of it may reach the log
// later.
func (s *names) unanswered(id string) {
	text, _, _ := strings.Cut(id, ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.known[text]; n != nil {
		n.inFlight = true
	}
}

// retire removes the names without open requests, and returns those that the
// state may know, to release them. A name under which a copy of an attempt may
// still be in flight is left to expire: without its mark that copy would be
// executed, perhaps a second time.
func (s *names) retire() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var texts []string
	for text, n := range s.known {
		if n.count > 0 || n.inFlight {
			continue
		}
		if n.used {
			texts = append(texts, text)
		}
		delete(s.known, text)
	}
	s.main, s.idle = nil, nil
	return texts
}
