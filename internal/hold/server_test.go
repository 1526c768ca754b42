package hold_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bubble is the clock of a synctest bubble, which sleeps when a test says so.
type bubble struct {
	start time.Time
	mu    sync.Mutex
	slept time.Duration
}

func newBubble() *bubble { return &bubble{start: time.Now()} }

func (b *bubble) Now() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Since(b.start) + b.slept
}

// sleep is a machine that sleeps: this clock goes on, Go's timers do not.
func (b *bubble) sleep(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slept += d
}

// call is one attempt as the server got it.
type call struct {
	op      string
	at      time.Duration // when it was sent
	id      string
	attempt uint32
	token   interrex.Token
	wait    time.Duration
}

// server is a small honest lease server: it knows the rules and its own clock.
type server struct {
	clock *bubble

	hooks sync.Mutex                    // held while one of these is set or called
	up    func(op string) time.Duration // how long a request travels
	down  func(op string) time.Duration // how long its answer does
	fault func(c call) error            // instead of doing it; may be nil
	deaf  func(c call) bool             // it is done, and the answer is lost

	mu       sync.Mutex
	changed  chan struct{}
	revision interrex.Token
	leases   map[interrex.Key]*interrex.Lease
	expiry   map[interrex.Key]time.Duration
	granted  map[string]interrex.LeaseAnswer // records, by request id
	newest   map[string]uint32               // attempt, by request id
	calls    []call
}

func newServer(clock *bubble) *server {
	none := func(string) time.Duration { return 0 }
	return &server{
		clock: clock, up: none, down: none, changed: make(chan struct{}),
		leases: map[interrex.Key]*interrex.Lease{}, expiry: map[interrex.Key]time.Duration{},
		granted: map[string]interrex.LeaseAnswer{}, newest: map[string]uint32{},
	}
}

// travel is the way there or back; a caller that goes away learns nothing.
func travel(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return interrex.Errorf(interrex.ErrOutcomeUnknown, "the caller has gone")
	}
}

func serve[A any](ctx context.Context, s *server, c call, do func() (A, error)) (a A, err error) {
	c.at = s.clock.Now()
	s.mu.Lock()
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	if err := travel(ctx, s.ask(func() time.Duration { return s.up(c.op) })); err != nil {
		return a, err
	}
	if err := s.fails(c); err != nil {
		return a, err
	}
	a, err = do()
	if s.loses(c) {
		<-ctx.Done()
		var none A
		return none, interrex.Errorf(interrex.ErrOutcomeUnknown, "the answer is lost")
	}
	if late := travel(ctx, s.ask(func() time.Duration { return s.down(c.op) })); late != nil {
		var none A
		return none, late
	}
	return a, err
}

func (s *server) ask(hook func() time.Duration) time.Duration {
	s.hooks.Lock()
	defer s.hooks.Unlock()
	return hook()
}

func (s *server) fails(c call) error {
	s.hooks.Lock()
	defer s.hooks.Unlock()
	if s.fault == nil {
		return nil
	}
	return s.fault(c)
}

func (s *server) loses(c call) bool {
	s.hooks.Lock()
	defer s.hooks.Unlock()
	return s.deaf != nil && s.deaf(c)
}

// set changes how the server behaves from now on.
func (s *server) set(change func(s *server)) {
	s.hooks.Lock()
	defer s.hooks.Unlock()
	change(s)
}

func (s *server) Claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	c := call{op: "claim", id: r.RequestID, attempt: r.Attempt, wait: r.Wait}
	return serve(ctx, s, c, func() (interrex.LeaseAnswer, error) { return s.claim(ctx, r) })
}

func (s *server) Extend(ctx context.Context, r interrex.ExtendRequest) (interrex.LeaseAnswer, error) {
	return serve(ctx, s, call{op: "extend", token: r.Token}, func() (interrex.LeaseAnswer, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		l, err := s.held(r.Key, r.Token)
		if err != nil {
			return interrex.LeaseAnswer{}, err
		}
		s.expiry[r.Key] = max(s.expiry[r.Key], s.clock.Now()+r.TTL)
		return interrex.LeaseAnswer{Lease: *l}, nil
	})
}

func (s *server) Revoke(ctx context.Context, r interrex.RevokeRequest) (interrex.RevokeAnswer, error) {
	c := call{op: "revoke", token: r.Token, id: r.RequestID, attempt: r.Attempt}
	return serve(ctx, s, c, func() (interrex.RevokeAnswer, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, done := s.granted[r.RequestID]; done && r.RequestID != "" {
			return interrex.RevokeAnswer{Replayed: true}, nil
		}
		if _, err := s.held(r.Key, r.Token); err != nil {
			return interrex.RevokeAnswer{}, err
		}
		if r.RequestID != "" {
			s.granted[r.RequestID] = interrex.LeaseAnswer{}
		}
		s.free(r.Key)
		return interrex.RevokeAnswer{}, nil
	})
}

func (s *server) Transfer(ctx context.Context, r interrex.TransferRequest) (interrex.LeaseAnswer, error) {
	c := call{op: "transfer", token: r.Token, id: r.RequestID, attempt: r.Attempt}
	return serve(ctx, s, c, func() (interrex.LeaseAnswer, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := s.held(r.Key, r.Token); err != nil {
			return interrex.LeaseAnswer{}, err
		}
		return s.grant(r.Key, r.To, r.TTL), nil
	})
}

// claim grants a free name, or waits for it as long as it is asked for.
func (s *server) claim(ctx context.Context, r interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	until := s.clock.Now() + r.Wait
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest[r.RequestID] = max(s.newest[r.RequestID], r.Attempt)
	s.change()
	for {
		if a, done := s.granted[r.RequestID]; done {
			a.Replayed = true
			if _, err := s.held(r.Key, a.Lease.Token); err != nil {
				return interrex.LeaseAnswer{}, err
			}
			return a, nil
		}
		held := s.present(r.Key)
		switch now := s.clock.Now(); {
		case held == nil && r.Attempt == s.newest[r.RequestID]:
			a := s.grant(r.Key, r.Holder, r.TTL)
			a.Attempt = r.Attempt
			s.granted[r.RequestID] = a
			return a, nil
		case now >= until, r.Attempt < s.newest[r.RequestID]:
			return interrex.LeaseAnswer{}, interrex.Errorf(interrex.ErrHeld, "by %s", held.Holder)
		default:
			changed, wake := s.changed, min(until, s.expiry[r.Key])-now
			s.mu.Unlock()
			timer := time.NewTimer(wake)
			select {
			case <-changed:
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
			s.mu.Lock()
			if ctx.Err() != nil {
				return interrex.LeaseAnswer{}, interrex.Errorf(interrex.ErrOutcomeUnknown, "the caller has gone")
			}
		}
	}
}

// change wakes who waits.
func (s *server) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) grant(k interrex.Key, holder string, ttl time.Duration) interrex.LeaseAnswer {
	s.revision++
	l := &interrex.Lease{Key: k, Holder: holder, Token: s.revision, TTL: ttl}
	s.leases[k], s.expiry[k] = l, s.clock.Now()+ttl
	s.change()
	return interrex.LeaseAnswer{Lease: *l}
}

func (s *server) free(k interrex.Key) {
	delete(s.leases, k)
	s.change()
}

// present returns the lease of a name unless it is due.
func (s *server) present(k interrex.Key) *interrex.Lease {
	if l := s.leases[k]; l != nil && s.clock.Now() < s.expiry[k] {
		return l
	}
	return nil
}

func (s *server) held(k interrex.Key, t interrex.Token) (*interrex.Lease, error) {
	if l := s.present(k); l != nil && l.Token == t {
		return l, nil
	}
	return nil, interrex.Errorf(interrex.ErrNotHeld, "%s is not held under token %d", k, t)
}

// end ends a lease as an operator would.
func (s *server) end(k interrex.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free(k)
}

// take grants a lease to another holder.
func (s *server) take(k interrex.Key, ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grant(k, "somebody", ttl)
}

// holder returns who has a name now.
func (s *server) holder(k interrex.Key) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.present(k); l != nil {
		return l.Holder
	}
	return ""
}

// got returns the attempts of one operation so far.
func (s *server) got(op string) []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var of []call
	for _, c := range s.calls {
		if c.op == op {
			of = append(of, c)
		}
	}
	return of
}

var _ hold.Backend = (*server)(nil)
