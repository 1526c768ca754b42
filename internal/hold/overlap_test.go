package hold_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// drifting is a process's own clock: it has its own rate and its own zero.
type drifting struct {
	start time.Time
	zero  time.Duration
	rate  float64
}

func (d drifting) Now() time.Duration {
	return d.zero + time.Duration(float64(time.Since(d.start))*d.rate)
}

// weather loses, delays and doubles what three holders and a server say to each
// other.
type weather struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (w *weather) below(d time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(w.rnd.Int64N(int64(d)))
}

func (w *weather) chance(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(100) < percent
}

func (w *weather) travel(string) time.Duration {
	if w.chance(10) {
		return w.below(2700 * time.Millisecond)
	}
	return w.below(50 * time.Millisecond)
}

// term is one holder's work, by the bubble's own time.
type term struct {
	holder   int
	token    interrex.Token
	from, to time.Duration
}

// Three holders with clocks of their own, whose messages are late and lost,
// campaign for one name for two minutes. Nobody's work may begin before
// another's has had to end.
func TestNoTwoHoldersOverlap(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			w := &weather{rnd: rand.New(rand.NewPCG(seed, 1))}
			clock := newBubble()
			s := newServer(clock)
			s.up, s.down = w.travel, w.travel
			s.deaf = func(call) bool { return w.chance(12) }
			terms := campaign(t, s, w)
			if len(terms) < 10 {
				t.Errorf("seed %d: %d terms show little", seed, len(terms))
			}
			for _, a := range terms {
				for _, b := range terms {
					if a.token < b.token && b.from < a.to {
						t.Errorf("seed %d: holder %d works under %d from %s, holder %d under %d until %s", seed, b.holder, b.token, b.from, a.holder, a.token, a.to)
					}
				}
			}
		})
	}
}

// campaign runs three holders and returns what they did.
func campaign(t *testing.T, s *server, w *weather) []term {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var terms []term
	var holders sync.WaitGroup
	for i := range 3 {
		clock := drifting{time.Now(), w.below(time.Hour), 0.976 + 0.048*float64(w.below(1000))/1000}
		k, err := hold.New(hold.Config{Backend: s, Clock: clock, Holder: string(rune('a' + i))})
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		holders.Go(func() {
			_ = k.Run(ctx, key.String(), interrex.HoldOptions{TTL: time.Second}, func(ctx context.Context, h interrex.Held) error {
				x := term{holder: i, token: h.Token(), from: s.clock.Now()}
				select {
				case <-ctx.Done():
					time.Sleep(w.below(hold.Margin(time.Second) / 2)) // it stops when its context ends, and takes its time
				case <-time.After(w.below(5 * time.Second)):
				}
				x.to = s.clock.Now()
				mu.Lock()
				defer mu.Unlock()
				terms = append(terms, x)
				return nil
			})
		})
	}
	holders.Wait()
	return terms
}
