// Package hold owns the holder's side of a lease: the deadline by which its
// work must have ended, the extends that move it, and the campaign for it.
//
// The rules, of the contract's "holder's side": the deadline is the send time
// of the attempt that the answer names plus the ttl, by a clock that counts
// sleep; the context ends a margin earlier; and it ends before a revoke or a
// transfer is sent, after which the token is never believed again.
package hold

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
)

// ErrReleased is the cause with which a hold's context ends when its holder
// releases or transfers the lease.
var ErrReleased = errors.New("lease released by its holder")

// ErrClosed is the cause with which a hold's context ends when its Keeper is
// closed; the lease then runs out by itself.
var ErrClosed = errors.New("lease keeper closed")

// Keeper holds leases.
type Keeper struct {
	config Config
	life   context.Context
	end    context.CancelFunc

	mu    sync.Mutex // held while a hold begins: none does after Close
	holds sync.WaitGroup
	open  map[*held]struct{} // neither given up nor run out; see sweep
}

// New makes a Keeper. Close it when it is no longer needed.
func New(c Config) (*Keeper, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	k := &Keeper{config: c.withDefaults(), open: map[*held]struct{}{}}
	k.life, k.end = context.WithCancel(context.Background())
	return k, nil
}

// Close ends the context of every hold and waits for what extends them. It
// releases nothing: who holds a lease releases it once its work has stopped.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.end()
	k.mu.Unlock()
	k.holds.Wait()
}

// bound returns a context that ends with ctx and with the Keeper.
func (k *Keeper) bound(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(k.life, func() { cancel(ErrClosed) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// Hold claims the lease of key and keeps it extended: see interrex.Leases.
// A claim that is granted too late to be believed is given back.
func (k *Keeper) Hold(ctx context.Context, key string, o interrex.HoldOptions) (interrex.Held, error) {
	r, err := k.request(key, o)
	if err != nil {
		return nil, err
	}
	h, err := k.campaign(ctx, r, o.Wait)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// request checks the options and makes the claim of them.
func (k *Keeper) request(key string, o interrex.HoldOptions) (interrex.ClaimRequest, error) {
	parsed, err := interrex.ParseKey(key)
	if err != nil {
		return interrex.ClaimRequest{}, err
	}
	r := interrex.ClaimRequest{Key: parsed, Holder: o.Holder, TTL: o.TTL, Takeover: o.Takeover, Metadata: o.Metadata}
	if r.TTL == 0 {
		r.TTL = interrex.DefaultTTL
	}
	if err := interrex.ValidateTTL(r.TTL); err != nil {
		return r, err
	}
	if r.Holder == "" {
		r.Holder = k.config.Holder
	}
	return r, interrex.ValidateHolder(r.Holder)
}

// campaign claims until the wait is over: as long as ctx lives for one below
// zero. One request waits for an hour at most. For a wait of 0 it claims until it
// is answered, within Config.Timeout.
func (k *Keeper) campaign(ctx context.Context, r interrex.ClaimRequest, wait time.Duration) (*held, error) {
	alive, cancel := k.bound(ctx)
	defer cancel(nil)
	until := k.config.Clock.Now() + wait
	reclaims := reclaims
	if wait == 0 {
		until += k.config.Timeout
		reclaims = interrex.Kind.Retryable
	}
	var said error // of a claim that did not wait, the most telling one
	for failures := 0; ; failures++ {
		left := until - k.config.Clock.Now()
		switch {
		case wait < 0:
			r.Wait = interrex.MaxWait
		case wait > 0:
			r.Wait = min(left, interrex.MaxWait)
		}
		h, err := k.try(ctx, r, left)
		if err == nil || !reclaims(interrex.KindOf(err)) {
			return h, err
		}
		if wait == 0 {
			said = tellsMore(said, err)
			err = said
		}
		pause := max(backoff.Next(minPause, 5*time.Second, failures), interrex.RetryAfter(err))
		if wait >= 0 && k.config.Clock.Now()+pause >= until {
			return nil, err
		}
		if !backoff.Pause(alive, time.After(pause)) {
			return nil, because(err, context.Cause(alive))
		}
	}
}

// because adds to the last error of a claim why it was the last, if there is a
// reason.
func because(err, cause error) error {
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// reclaims reports whether a claim's error asks for another claim. KindNotHeld
// does: the claim was granted, and that lease had ended before the grant was
// heard.
func reclaims(kind interrex.Kind) bool {
	return again(kind) || kind == interrex.KindHeld || kind == interrex.KindNotHeld
}

// try makes one claim and holds what it is granted. One that does not wait has so
// much time.
func (k *Keeper) try(ctx context.Context, r interrex.ClaimRequest, limit time.Duration) (*held, error) {
	g, err := k.claim(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	h, err := k.hold(ctx, r, g)
	if err != nil {
		k.giveBack(g.Lease)
	}
	return h, err
}

// hold begins a hold, unless its time is over before it began.
func (k *Keeper) hold(ctx context.Context, r interrex.ClaimRequest, g grant) (*held, error) {
	h := newHeld(k, r, g)
	if k.config.Clock.Now() >= h.deadline-h.margin {
		return nil, interrex.Errorf(interrex.KindUnavailable, "lease %s was granted too late to be believed, and is given back: claim it again", r.Key)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life.Err() != nil {
		return nil, interrex.Errorf(interrex.KindUnavailable, "cannot hold %s", r.Key).WithCause(ErrClosed)
	}
	life, cancel := k.bound(ctx)
	h.ctx, h.cancel = &leaseContext{life, h}, cancel
	if len(k.open)%sweepEvery == 0 {
		k.sweep()
	}
	k.open[h] = struct{}{}
	k.holds.Go(h.keep)
	return h, nil
}

// giveBack revokes a lease that nobody believes to hold, as well as it can be
// done in a second: else it runs out by itself. It reports whether it was
// revoked.
func (k *Keeper) giveBack(l interrex.Lease) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := k.revoke(ctx, l.Key, l.Token)
	if err != nil {
		k.config.Logger.Infof("lease %s, granted under token %d too late to be believed, runs out by itself: %v", l.Key, l.Token, err)
	}
	return err == nil
}
