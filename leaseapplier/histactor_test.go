package leaseapplier_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/hold"
)

// actor is a holder that comes and goes in one process after another.
type actor struct {
	h      *history
	holder string
	client *client.Client
	node   string
	lives  int
}

func (a *actor) dial() {
	a.lives++
	a.node = fmt.Sprint(a.holder, "-", a.lives)
	addresses := []string{"http://a:80", "http://b:80"}
	if a.h.chance(0.5) {
		addresses[0], addresses[1] = addresses[1], addresses[0]
	}
	a.h.mu.Lock()
	rate := a.h.rate()
	a.h.mu.Unlock()
	c, err := client.Dial(a.h.end, client.Config{
		Addresses: addresses, Holder: a.holder, Clock: holdersClock{skewed{clock.WallClock, time.Now(), rate}},
		Dial: a.h.net.dialer(a.node), Timeout: 5 * time.Second,
	})
	a.h.must(err)
	a.client = c
}

func (a *actor) live(seed uint64) {
	defer a.h.actors.Done()
	rnd := rand.New(rand.NewPCG(seed, uint64(len(a.holder))))
	a.dial()
	for takeover := false; a.h.end.Err() == nil; {
		a.pause(time.Duration(rnd.IntN(300)) * time.Millisecond)
		switch {
		case rnd.IntN(12) == 0 && !a.h.isCalm(): // the process dies, and another comes
			a.h.rules.note("%s dies", a.holder)
			a.h.net.kill(a.node)
			_ = a.client.Close()
			a.pause(time.Duration(rnd.IntN(800)) * time.Millisecond)
			a.dial()
			takeover = rnd.IntN(10) < 7
			continue
		case rnd.IntN(8) == 0:
			a.stand(time.Duration(500+rnd.IntN(3500)) * time.Millisecond)
		case rnd.IntN(8) == 0:
			a.pin(rnd)
		default:
			a.hold(rnd, takeover)
			takeover = false
		}
	}
	_ = a.client.Close()
}

func (a *actor) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-a.h.end.Done():
	}
}

// stand waits in line, and releases what it is granted.
func (a *actor) stand(wait time.Duration) {
	began := time.Now()
	got, err := a.client.Leases().Claim(a.h.end, interrex.ClaimRequest{Key: parsed, TTL: histTTL, Wait: wait})
	if err != nil {
		a.h.rules.told(a.holder, err, time.Since(began), wait)
		return
	}
	_, err = a.client.Leases().Revoke(a.h.end, interrex.RevokeRequest{Key: parsed, Token: got.Lease.Token})
	if err != nil {
		a.h.rules.told(a.holder, err, 0, 0)
	}
}

var parsed = interrex.Key{Namespace: "default", Name: "db"}

func (a *actor) pin(rnd *rand.Rand) {
	ctx, cancel := context.WithTimeout(a.h.end, time.Second)
	defer cancel()
	r := interrex.PinRequest{Key: parsed, Owner: a.holder, Reason: "test", For: time.Duration(1+rnd.IntN(1500)) * time.Millisecond}
	_, err := a.client.Leases().Pin(ctx, r)
	if err == nil && rnd.IntN(2) == 0 {
		a.pause(time.Duration(rnd.IntN(1500)) * time.Millisecond)
		_, err = a.client.Leases().Unpin(ctx, r)
	}
	if err != nil {
		a.h.rules.told(a.holder, err, 0, 0)
	}
}

// hold waits for the lease and works under it for a while.
func (a *actor) hold(rnd *rand.Rand, takeover bool) {
	ctx, cancel := context.WithCancel(a.h.end) // its end lets the lease run out
	defer cancel()
	patient := rnd.IntN(4) > 0
	if !patient {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(3000))*time.Millisecond)
		defer cancel()
	}
	wait := time.Duration(rnd.IntN(4000)) * time.Millisecond
	if rnd.IntN(5) == 0 {
		wait = 0
	}
	a.h.stands(a.holder, wait > 0 && patient)
	held, err := a.client.Leases().Hold(ctx, histKey, interrex.HoldOptions{TTL: histTTL, Wait: wait, Takeover: takeover})
	a.h.stands(a.holder, false)
	if err != nil {
		a.h.rules.told(a.holder, err, 0, 0)
		return
	}
	a.h.rules.begin(a.holder, held.Token())
	work := time.NewTimer(time.Duration(rnd.IntN(2500)) * time.Millisecond)
	defer work.Stop()
	select {
	case <-held.Context().Done():
		// Work may continue for half a margin more.
		time.Sleep(hold.Margin(histTTL) / 2 * 95 / 100)
		a.h.rules.end(a.holder, fmt.Sprint(context.Cause(held.Context())))
	case <-work.C:
		a.h.rules.end(a.holder, "done")
	}
	switch rnd.IntN(5) {
	case 0: // it is let run out
	case 1:
		err = held.Transfer(a.h.end, []string{"ann", "bob", "cat"}[rnd.IntN(3)])
	default:
		err = held.Release(a.h.end)
	}
	if err != nil {
		a.h.rules.told(a.holder, err, 0, 0)
	}
}
