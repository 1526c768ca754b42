package hold

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
)

// steady is how long fn must have run for the next campaign to begin with the
// shortest pause again.
const steady = 10 * time.Second

// minPause is about how long the pause after a first failure is.
const minPause = 100 * time.Millisecond

// Run campaigns for key, runs fn under the hold's context, waits for fn,
// releases, and campaigns again: see interrex.Leases. The lease is never released
// while fn runs: an fn that overstays its context lets it run out, and keeps this
// Run from campaigning.
func (k *Keeper) Run(ctx context.Context, key string, o interrex.HoldOptions, fn func(ctx context.Context, held interrex.Held) error) error {
	if fn == nil {
		return interrex.Errorf(interrex.KindInvalid, "cannot run under %s: there is no function to run", key)
	}
	r, err := k.request(key, o)
	if err != nil {
		return err
	}
	ctx, cancel := k.bound(ctx)
	defer cancel(nil)
	for failures := 0; ; failures++ {
		began := k.config.Clock.Now()
		held, err := k.campaign(ctx, r, -1)
		switch {
		case err == nil:
			began = k.config.Clock.Now()
			if over, err := k.term(held, fn); over {
				return err
			}
		case ctx.Err() == nil: // no retry mends it, or the Keeper is closed
			return err
		}
		if k.config.Clock.Now()-began >= steady {
			failures = 0
		}
		if !backoff.Pause(ctx, time.After(backoff.Next(minPause, 5*time.Second, failures))) {
			return context.Cause(ctx)
		}
	}
}

// term is one hold from its begin to its release. over: fn has ended the
// campaign, and err is what Run returns. When fn panics the hold ends and is not
// released: nothing says that its work has stopped.
func (k *Keeper) term(h *held, fn func(ctx context.Context, held interrex.Held) error) (over bool, err error) {
	k.config.Logger.Infof("%s is held under token %d", h.key, h.token)
	defer h.cancel(nil)
	err = fn(h.ctx, h)
	k.ended(h, err)
	// The caller's context may have ended: the release has bounds of its own.
	released := h.Release(context.WithoutCancel(h.ctx))
	if released != nil {
		k.config.Logger.Infof("cannot release %s: %v", h.key, released)
	}
	if !errors.Is(err, interrex.ErrStopCampaign) {
		return false, nil
	}
	switch {
	case err == interrex.ErrStopCampaign:
		return true, released
	case released == nil:
		return true, err
	}
	return true, errors.Join(err, released)
}

// ended says how the function under a hold ended. One that returns because its
// context has ended has not failed.
func (k *Keeper) ended(h *held, err error) {
	if late := -h.left() - h.margin/2; late > 0 {
		k.config.Logger.Warningf("the work under %s, token %d, ended %s after it had to: only the token protected it", h.key, h.token, late)
		k.config.Overstayed()
	}
	switch cause := context.Cause(h.ctx); {
	case err == nil || errors.Is(err, interrex.ErrStopCampaign):
		k.config.Logger.Infof("the work under %s ended", h.key)
	case cause != nil && (errors.Is(err, cause) || errors.Is(err, h.ctx.Err())):
		k.config.Logger.Infof("the work under %s ended: %v", h.key, cause)
	default:
		k.config.Logger.Warningf("the work under %s failed, and the campaign for it goes on: %v", h.key, err)
	}
}
