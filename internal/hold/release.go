package hold

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/validation"
)

// The bounds of a release or transfer. Later the lease has expired, or no agent
// answers.
const (
	minReleasing = time.Second
	maxReleasing = 10 * time.Second
	oneAttempt   = 2 * time.Second
)

// Release ends the context, waits until the lease is no longer extended, and revokes
// it. It takes at most until the lease has expired, and at most 10 s; its error is
// then ErrOutcomeUnknown. If the lease has ended already, the error is nil. Release
// may be called again, also concurrently.
func (h *held) Release(ctx context.Context) error {
	h.cancel(ErrReleased)
	<-h.done
	h.releasing.Lock()
	defer h.releasing.Unlock()
	if h.isGone() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.releaseTime())
	defer cancel()
	if err := h.k.revoke(ctx, h.key, h.token); err != nil {
		return err
	}
	h.setGone()
	return nil
}

// Transfer ends the context, waits until the lease is no longer extended, and transfers
// it to another holder: see interrex.Held. This holder does not hold it afterwards,
// even after an error; a Release then does no harm.
func (h *held) Transfer(ctx context.Context, to string) error {
	if err := validation.Holder(to); err != nil {
		return err
	}
	h.cancel(ErrReleased)
	<-h.done
	h.releasing.Lock()
	defer h.releasing.Unlock()
	if h.isGone() {
		return interrex.Errorf(interrex.ErrNotHeld, "cannot transfer %s to %s: it is no longer held under token %d", h.key, to, h.token)
	}
	ctx, cancel := context.WithTimeout(ctx, h.releaseTime())
	defer cancel()
	err := h.k.identified(ctx, "transfer", func(ctx context.Context, id string, attempt uint32) error {
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

// releaseTime returns how long to try to release or transfer the lease.
func (h *held) releaseTime() time.Duration {
	return min(max(h.left()+h.margin, minReleasing), maxReleasing)
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

// revoke revokes a token; that the lease has ended already is not an error. It needs no
// request id: an attempt that finds the lease ended is as good as one that ends it.
func (k *Keeper) revoke(ctx context.Context, key interrex.Key, token interrex.Token) error {
	err := k.insist(ctx, "revoke", func(ctx context.Context, attempt uint32) error {
		_, err := k.config.Backend.Revoke(ctx, interrex.RevokeRequest{Key: key, Token: token, Attempt: attempt})
		return err
	})
	if errors.Is(err, interrex.ErrNotHeld) {
		return nil
	}
	return err
}

// identified is insist for a request with an id, which goes on under another one when its
// name is gone and nothing of it was done.
func (k *Keeper) identified(ctx context.Context, what string, attempt func(ctx context.Context, id string, n uint32) error) error {
	for n := 0; ; n++ {
		id, err := k.config.IDs.Open(ctx, false)
		if err != nil {
			return err
		}
		err = k.insist(ctx, what, func(ctx context.Context, n uint32) error { return attempt(ctx, id.Text, n) })
		id.Done()
		moves, told := id.Gone(err)
		if !moves {
			return told
		}
		if !backoff.Pause(ctx, time.After(backoff.Next(minPause, time.Second, n))) {
			return interrex.Errorf(interrex.ErrTimeout, "cannot %s: nothing has happened: %v", what, err).WithCause(err)
		}
	}
}

// insist makes attempts until one has a final answer, or ctx ends: then the outcome is
// unknown.
func (k *Keeper) insist(ctx context.Context, what string, attempt func(ctx context.Context, n uint32) error) error {
	unsure := false // an attempt may have done it
	for n := uint32(0); ; n++ {
		one, cancel := context.WithTimeout(ctx, oneAttempt)
		err := attempt(one, n)
		cancel()
		kind := interrex.KindOf(err)
		switch {
		case unsure && AtDoor(kind):
			return interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot %s: an attempt was not answered, and the last one was refused: %v", what, err).WithCause(err)
		case err == nil, !again(kind):
			return err
		}
		unsure = unsure || kind == interrex.ErrOutcomeUnknown
		if !backoff.Pause(ctx, time.After(max(backoff.Next(minPause, time.Second, int(n)), interrex.RetryAfter(err)))) {
			return interrex.Errorf(interrex.ErrOutcomeUnknown, "cannot %s in time: %v", what, err).WithCause(errors.Join(context.Cause(ctx), err))
		}
	}
}
