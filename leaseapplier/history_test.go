package leaseapplier_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/leaseapplier"
)

const (
	roughTime = 16 * time.Second
	calmTime  = 6 * time.Second
	histTTL   = time.Second
	histKey   = "default/db"
)

// history is one random schedule.
type history struct {
	t      *testing.T
	rnd    *rand.Rand
	log    *sharedLog
	net    *network
	rules  *rules
	agents []*agent
	actors sync.WaitGroup
	end    context.Context

	mu      sync.Mutex
	waiting map[string]time.Time // since when holders wait in line
	calm    bool
}

func (h *history) rate() float64 { return 1 + []float64{-0.024, 0.024, 0, 0.01}[h.rnd.IntN(4)] }
func (h *history) chance(p float64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rnd.Float64() < p
}
func (h *history) upTo(d time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Duration(h.rnd.Int64N(int64(d)))
}

func (h *history) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) stands(holder string, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting, holder)
	if is {
		h.waiting[holder] = time.Now()
	}
}

func (h *history) isCalm() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calm
}

// rough lets leaders fall and links break.
func (h *history) rough() {
	began := time.Now()
	members := []*member{h.agents[0].member, h.agents[1].member}
	h.log.elect(members[h.upTo(2)], members)
	next := began.Add(h.upTo(4 * time.Second))
	operator, err := client.Dial(h.end, client.Config{Addresses: []string{"http://a:80"}, Dial: h.net.dialer("operator"), OneShot: true, Timeout: time.Second})
	h.must(err)
	for time.Since(began) < roughTime {
		time.Sleep(h.upTo(50 * time.Millisecond))
		switch {
		case time.Now().After(next):
			told := time.Duration(0)
			if h.chance(0.5) {
				told = h.upTo(1500 * time.Millisecond)
			}
			h.rules.note("LEADER LOST, told after %v", told)
			h.log.lose(told)
			time.Sleep(50*time.Millisecond + h.upTo(1200*time.Millisecond))
			m := members[h.upTo(2)]
			h.log.elect(m, members)
			h.rules.note("LEADER %s", m.id)
			next = time.Now().Add(300*time.Millisecond + h.upTo(4*time.Second))
		case h.chance(0.02):
			h.net.breakSome("", 0.3)
		case h.chance(0.02):
			node := []string{"a", "b", "a-peer", "b-peer"}[h.upTo(4)]
			h.net.stall(node, h.upTo(1500*time.Millisecond))
		case h.chance(0.01):
			h.net.breakSome([]string{"a", "b"}[h.upTo(2)], 0)
		case h.chance(0.004):
			h.rules.note("RESTART")
			h.agents[h.upTo(2)].restart()
		case h.chance(0.004):
			_, _ = operator.Leases().Revoke(h.end, interrex.RevokeRequest{Key: parsed, Force: true})
		}
	}
	h.must(operator.Close())
	h.log.mu.Lock()
	h.log.calm = true
	h.log.mu.Unlock()
	h.net.calmDown()
}

// watch checks, without failures, that no caller waits in vain.
func (h *history) watch() {
	h.mu.Lock()
	h.calm = true
	h.mu.Unlock()
	time.Sleep(3 * histTTL) // what the storm has left
	free, granted, token := time.Now(), time.Time{}, interrex.Token(0)
	for began := time.Now(); time.Since(began) < calmTime; time.Sleep(5 * time.Millisecond) {
		l, held := h.agents[0].leases.Get(parsed)
		if h.agents[1].State() == raft.Leader {
			l, held = h.agents[1].leases.Get(parsed)
		}
		now := time.Now()
		if held {
			free = now
		}
		switch {
		case token == 0:
			token = l.Token
		case held && l.Token != token:
			token, granted = l.Token, now
		}
		h.mu.Lock()
		for holder, since := range h.waiting {
			if d := now.Sub(later(since, free)); !held && d > 8*histTTL/10 {
				h.rules.note("BROKEN free for %v", d)
				h.t.Errorf("%s waits, and the name has been free for %v", holder, d)
				delete(h.waiting, holder)
			}
			if d := now.Sub(granted); held && l.Holder == holder && granted.After(since) && h.rules.byClaim(l.Token) && d > histTTL/2 {
				h.rules.note("BROKEN untold for %v", d)
				h.t.Errorf("%s waits, and has had token %d for %v", holder, l.Token, d)
				delete(h.waiting, holder)
			}
		}
		h.mu.Unlock()
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func runHistory(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 11))
	h := &history{t: t, rnd: rnd, net: newNetwork(rand.New(rand.NewPCG(seed, 13))), waiting: map[string]time.Time{}}
	h.rules = newRules(t.Errorf)
	h.log = &sharedLog{rules: h.rules, rnd: rand.New(rand.NewPCG(seed, 17))}
	ctx, cancel := context.WithCancel(t.Context())
	h.end = ctx
	h.agents = []*agent{h.newAgent("a"), h.newAgent("b")}
	for i, holder := range []string{"ann", "bob", "cat"} {
		h.actors.Add(1)
		go (&actor{h: h, holder: holder}).live(seed*10 + uint64(i))
	}
	h.rough()
	h.watch()
	cancel()
	h.actors.Wait()
	for _, a := range h.agents {
		a.close()
	}
	h.net.breakSome("", 1)  // what HTTP had dialled in vain
	time.Sleep(time.Second) // what is still on its way arrives
	synctest.Wait()
	h.rules.checkRefused()
	if t.Failed() || os.Getenv("INTERREX_STORY") != "" {
		h.rules.mu.Lock()
		defer h.rules.mu.Unlock()
		t.Logf("%s", strings.Join(h.rules.story, "\n"))
	}
	if h.rules.grants < 5 || h.rules.holds < 3 {
		t.Errorf("%d grants and %d holds show little", h.rules.grants, h.rules.holds)
	}
}

// TestHistoriesKeepTheRules runs real clients against two real agents, but for
// raft and the disk, while leaders fall, links break and clocks disagree.
func TestHistoriesKeepTheRules(t *testing.T) {
	first, n := leaseapplier.Seeds(20, 3)
	for seed := first; seed < first+n; seed++ {
		if ok := t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runHistory(t, seed) })
		}); !ok {
			return
		}
	}
}
