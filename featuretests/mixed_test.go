package featuretests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// The leader is killed, or paused and continued, in turn, while programs hold leases
// by their own deadlines and others claim and extend.
func TestHoldersNeverOverlapWhileLeadersFall(t *testing.T) {
	f := newFleet(t, 3, nil)
	w := &witness{}
	ctx, stop := context.WithCancel(t.Context())
	var holders sync.WaitGroup
	t.Cleanup(holders.Wait)
	t.Cleanup(stop)
	for i := range 9 {
		leases := f.client(i%3, (i+1)%3, (i+2)%3).Leases()
		holders.Go(func() { w.hold(ctx, leases, key(fmt.Sprintf("held/%d", i%3)), fmt.Sprint("h", i)) })
	}
	l := startLoad(t, f.client(0), f.client(1), f.client(2))
	for round := range 6 {
		leader := f.leader()
		if round%2 == 0 {
			f.kill(leader)
			pause(ctx, 2*time.Second)
			f.start(leader)
		} else {
			f.signal(leader, syscall.SIGSTOP)
			pause(ctx, 2*holdTTL)
			f.signal(leader, syscall.SIGCONT)
		}
		f.answers(leader)
		pause(ctx, time.Second)
	}
	enough(t, "holders", 60, w.count)
	stop()
	holders.Wait()
	w.check(t)
	l.check(t, 2000)
}

const holdTTL = 2 * time.Second

// stay is the time in which a holder worked.
type stay struct {
	holder   string
	token    interrex.Token
	from, to time.Time
}

// witness records when each holder worked.
type witness struct {
	mu    sync.Mutex
	stays map[interrex.Key][]stay
}

// hold campaigns and works for a while at each win, until ctx ends. The work
// stops when its context does, or before it releases.
func (w *witness) hold(ctx context.Context, leases interrex.Leases, k interrex.Key, holder string) {
	for ctx.Err() == nil {
		held, err := leases.Hold(ctx, k.String(), interrex.HoldOptions{TTL: holdTTL, Holder: holder, Wait: 5 * time.Second})
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		s := stay{holder: holder, token: held.Token(), from: time.Now()}
		pause(held.Context(), time.Duration(rand.IntN(600))*time.Millisecond)
		// A process that was not scheduled in time counts until its deadline:
		// the promise is about work that stops when it is told to.
		s.to = time.Now()
		if deadline := held.Deadline(); deadline.Before(s.to) {
			s.to = deadline
		}
		w.add(k, s)
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		_ = held.Release(release) // one that fails runs out
		cancel()
	}
}

func (w *witness) add(k interrex.Key, s stay) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stays == nil {
		w.stays = map[interrex.Key][]stay{}
	}
	w.stays[k] = append(w.stays[k], s)
}

func (w *witness) count() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, stays := range w.stays {
		n += len(stays)
	}
	return n
}

// check checks that the stays of each key do not overlap, and have increasing
// tokens.
func (w *witness) check(t *testing.T) {
	t.Helper()
	t.Logf("there were %d holders, one after the other", w.count())
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, stays := range w.stays {
		slices.SortFunc(stays, func(a, b stay) int { return a.from.Compare(b.from) })
		for i := 1; i < len(stays); i++ {
			before, after := stays[i-1], stays[i]
			if after.from.Before(before.to) {
				t.Errorf("%s: %s worked until %s, %s from %s on", k, before.holder, before.to, after.holder, after.from)
			}
			if after.token <= before.token {
				t.Errorf("%s: %s held it under token %s after %s under %s", k, after.holder, after.token, before.holder, before.token)
			}
		}
	}
}
