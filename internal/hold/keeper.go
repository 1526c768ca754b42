// Package hold owns the holder's side of a lease: the campaign for it, the deadline by
// which its work must have ended, and the extends that move the deadline.
//
// The rules are those of "The holder's side" in the contract: the deadline is the
// send time of the attempt that the answer names plus the ttl, by a clock that counts
// sleep; the context ends a margin earlier, and before a revoke or a transfer is sent.
// After it has ended, the token is never trusted again.
package hold

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/validation"
)

// ErrReleased is the cause with which a hold's context ends when its holder
// releases or transfers the lease.
var ErrReleased = errors.New("lease released by its holder")

// ErrClosed is the cause with which a hold's context ends when its Keeper is
// closed; the lease then expires.
var ErrClosed = errors.New("lease keeper closed")

// Keeper holds leases.
type Keeper struct {
	config Config
	life   context.Context
	end    context.CancelFunc

	mu    sync.Mutex // held while a hold begins, so that none does after Close
	holds sync.WaitGroup
	open  map[*held]struct{} // neither released nor expired; see sweep
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

// Close ends the context of every hold, and waits for the goroutines that extend
// them. It does not release leases: a holder must do that, once its work has stopped.
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
// A lease that is granted too late to be used is revoked.
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

// request checks the options and returns the request of their claim.
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
	return r, validation.Holder(r.Holder)
}

// campaign claims until the wait is over; a negative wait ends with ctx. One request
// waits for at most an hour. With a wait of 0 it claims until it is answered, within
// Config.Timeout.
func (k *Keeper) campaign(ctx context.Context, r interrex.ClaimRequest, wait time.Duration) (*held, error) {
	alive, cancel := k.bound(ctx)
	defer cancel(nil)
	until := k.config.Clock.Now() + wait
	reclaims := reclaims
	if wait == 0 {
		until += k.config.Timeout
		reclaims = interrex.Kind.Retryable
	}
	var best error // of claims that do not wait, the most specific one
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
			best = moreSpecific(best, err)
			err = best
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

// because adds the cause, if there is one, to the last error of a claim.
func because(err, cause error) error {
	if cause == nil || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// reclaims reports whether to claim again after an error. ErrNotHeld means that the
// claim was granted, but the lease had ended before the grant was received.
func reclaims(kind interrex.Kind) bool {
	return again(kind) || kind == interrex.ErrHeld || kind == interrex.ErrNotHeld
}

// try makes one claim, and begins the hold if it is granted. limit bounds a claim that
// does not wait.
func (k *Keeper) try(ctx context.Context, r interrex.ClaimRequest, limit time.Duration) (*held, error) {
	g, err := k.claim(ctx, r, limit)
	if err != nil {
		return nil, err
	}
	h, err := k.hold(ctx, r, g)
	if err != nil {
		k.revokeUnused(g.Lease)
	}
	return h, err
}

// hold begins a hold, unless its time is over already.
func (k *Keeper) hold(ctx context.Context, r interrex.ClaimRequest, g grant) (*held, error) {
	h := newHeld(k, r, g)
	if k.config.Clock.Now() >= h.deadline-h.margin {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "lease %s was granted too late to be used, and is released: claim it again", r.Key)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.life.Err() != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "cannot hold %s", r.Key).WithCause(ErrClosed)
	}
	life, cancel := k.bound(ctx)
	h.ctx, h.cancel = &leaseContext{life, h}, cancel
	if len(k.open)%sweepEvery == 0 {
		k.sweep()
	}
	k.open[h] = struct{}{}
	k.holds.Go(h.extendLoop)
	return h, nil
}

// revokeUnused revokes a lease that is not used, within a second; else the lease expires.
// It reports whether the lease was revoked.
func (k *Keeper) revokeUnused(l interrex.Lease) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := k.revoke(ctx, l.Key, l.Token)
	if err != nil {
		k.config.Logger.Infof("lease %s, granted under token %d too late to be used, could not be revoked and will expire: %v", l.Key, l.Token, err)
	}
	return err == nil
}
