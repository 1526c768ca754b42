package featuretests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// load is callers that claim, extend, revoke and read a few names as long as it
// runs, and their history.
type load struct {
	history History
	tokens  tokens
	stop    context.CancelFunc
	callers sync.WaitGroup
}

// The leases of a load.
const (
	loadKeys = 12
	loadTTL  = 2 * time.Second
)

// startLoad starts two callers on each client.
func startLoad(t *testing.T, clients ...*client.Client) *load {
	t.Helper()
	l := &load{}
	var ctx context.Context
	ctx, l.stop = context.WithCancel(t.Context())
	for i := range 2 * len(clients) {
		r := Recorder{Leases: clients[i/2].Leases(), History: &l.history, Client: i}
		l.callers.Go(func() { l.call(ctx, r) })
	}
	t.Cleanup(l.callers.Wait)
	t.Cleanup(l.stop)
	return l
}

// call runs one caller.
func (l *load) call(ctx context.Context, r Recorder) {
	d := drawer(r.Client)
	for n := 0; ctx.Err() == nil; n++ {
		k := key(fmt.Sprintf("load/%d", d.IntN(loadKeys)))
		holder := fmt.Sprintf("%d.%d", r.Client, n)
		token, err := r.Claim(ctx, k, holder, loadTTL)
		if err != nil {
			_, _ = r.Get(ctx, k)
		} else {
			l.tokens.add(k, token)
			l.use(ctx, r, d, k, token)
		}
		pause(ctx, time.Duration(d.IntN(8))*time.Millisecond)
	}
}

// use extends a lease a few times, reads it, and revokes most of them.
func (l *load) use(ctx context.Context, r Recorder, d *rand.Rand, k interrex.Key, token interrex.Token) {
	for range d.IntN(4) {
		pause(ctx, time.Duration(d.IntN(20))*time.Millisecond)
		if err := r.Extend(ctx, k, token, loadTTL); errors.Is(err, interrex.ErrNotHeld) {
			return
		}
	}
	_, _ = r.Get(ctx, k)
	if d.IntN(10) > 0 {
		_ = r.Revoke(ctx, k, token)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// check ends the load once it has at least floor answered operations, and judges
// its history.
func (l *load) check(t *testing.T, floor int) {
	t.Helper()
	enough(t, "answered operations", floor, l.history.answered)
	l.stop()
	l.callers.Wait()
	answered, without := l.history.Count()
	t.Logf("%d operations were answered, %d had an unknown outcome or none, from seed %d on", answered, without, seed)
	l.tokens.check(t)
	l.history.judge(t, leaseModel())
}

// judge fails a test whose history a model does not allow.
func (h *History) judge(t *testing.T, m porcupine.Model) {
	t.Helper()
	verdict := h.Check(m, 5*time.Minute)
	if verdict == porcupine.Ok {
		return
	}
	path := scratch + ".html"
	err := h.Write(m, path, time.Minute)
	t.Errorf("the history breaks its rules (%s): see %s (%v)", verdict, path, err)
}

// tokens records the tokens of all grants: none is issued twice. That those of one
// key increase is checked by the history, which knows their order.
type tokens struct {
	mu       sync.Mutex
	seen     map[interrex.Token]interrex.Key
	repeated []string
}

func (s *tokens) add(k interrex.Key, token interrex.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[interrex.Token]interrex.Key{}
	}
	if before, repeated := s.seen[token]; repeated {
		s.repeated = append(s.repeated, fmt.Sprintf("token %s of %s was given before, for %s", token, k, before))
	}
	s.seen[token] = k
}

func (s *tokens) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.repeated {
		t.Error(r)
	}
}
