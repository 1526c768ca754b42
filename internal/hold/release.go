package hold

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
)

// A lease is given up within these bounds. Later it has run out by itself, or
// nobody answers.
const (
	minGiving  = time.Second
	maxGiving  = 10 * time.Second
	oneAttempt = 2 * time.Second
)

// Release ends the context, waits until nothing extends the lease any more, and
// revokes it. It is bounded by the time after which the lease has run out by
// itself, at most 10 s; its error is then KindOutcomeUnknown. A lease that is
// gone already is released. It is safe to call it again, also from elsewhere.
func (h *held) Release(ctx context.Context) error {
	h.cancel(ErrReleased)
	<-h.kept
	h.giving.Lock()
	defer h.giving.Unlock()
	if h.isGone() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeToGive())
	defer cancel()
	if err := h.k.revoke(ctx, h.key, h.token); err != nil {
		return err
	}
	h.setGone()
	return nil
}

// Transfer ends the context, waits until nothing extends the lease any more,
// and hands it to another holder: see interrex.Held. Whatever the answer, this
// holder does not hold it any more; a Release after it does no harm.
func (h *held) Transfer(ctx context.Context, to string) error {
	if err := interrex.ValidateHolder(to); err != nil {
		return err
	}
	h.cancel(ErrReleased)
	<-h.kept
	h.giving.Lock()
	defer h.giving.Unlock()
	if h.isGone() {
		return interrex.Errorf(interrex.KindNotHeld, "cannot transfer %s to %s: it is not held under token %d any more", h.key, to, h.token)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeToGive())
	defer cancel()
	err := h.k.insist(ctx, "transfer", func(ctx context.Context, id string, attempt uint32) error {
		_, err := h.k.config.Backend.Transfer(ctx, interrex.TransferRequest{
			Key: h.key, Token: h.token, To: to, TTL: h.ttl, RequestID: id, Attempt: attempt,
		})
		return err
	})
	if err == nil || errors.Is(err, interrex.ErrNotHeld) {
		h.setGone()
	}
	return err
}

// timeToGive is how long it is worth while to give the lease up.
func (h *held) timeToGive() time.Duration {
	return min(max(h.left()+h.margin, minGiving), maxGiving)
}

func (h *held) isGone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gone
}

func (h *held) setGone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = true
}

// revoke revokes a token; one that is dead already is no error.
func (k *Keeper) revoke(ctx context.Context, key interrex.Key, token interrex.Token) error {
	err := k.insist(ctx, "revoke", func(ctx context.Context, id string, attempt uint32) error {
		_, err := k.config.Backend.Revoke(ctx, interrex.RevokeRequest{Key: key, Token: token, RequestID: id, Attempt: attempt})
		return err
	})
	if errors.Is(err, interrex.ErrNotHeld) {
		return nil
	}
	return err
}

// insist makes attempts under one request id until one is answered for good, or
// ctx ends: then the outcome is unknown.
func (k *Keeper) insist(ctx context.Context, what string, attempt func(ctx context.Context, id string, n uint32) error) error {
	id, done, err := k.config.IDs.Open(false)
	if err != nil {
		return err
	}
	defer done()
	for n := uint32(0); ; n++ {
		one, cancel := context.WithTimeout(ctx, oneAttempt)
		err := attempt(one, id, n)
		cancel()
		if err == nil || !again(interrex.KindOf(err)) {
			return err
		}
		if !backoff.Pause(ctx, time.After(max(backoff.Next(minPause, time.Second, int(n)), interrex.RetryAfter(err)))) {
			return interrex.Errorf(interrex.KindOutcomeUnknown, "cannot %s in time: %v", what, err).WithCause(errors.Join(context.Cause(ctx), err))
		}
	}
}
