package hold

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/wording"
)

// steady is how long fn must have run for the pause before the next campaign to be the
// shortest one again.
const steady = 10 * time.Second

// minPause is approximately the pause after a first failure.
const minPause = 100 * time.Millisecond

// Run campaigns for key, runs fn under the hold's context, waits for fn,
// releases, and campaigns again: see interrex.Leases. The lease is never released
// while fn runs: if fn goes on after its context has ended, the lease expires, and Run
// does not campaign again before fn has returned.
func (k *Keeper) Run(ctx context.Context, key string, o interrex.HoldOptions, fn func(ctx context.Context, held interrex.Held) error) error {
	if fn == nil {
		return interrex.Errorf(interrex.ErrInvalid, "cannot run under %s: there is no function to run", key)
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
		case ctx.Err() == nil: // a retry would not help, or the Keeper is closed
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

// term is one hold from its beginning to its release. over reports that fn has ended
// the campaign, and err is what Run returns. If fn panics the hold ends without a
// release, because its work may not have stopped.
func (k *Keeper) term(h *held, fn func(ctx context.Context, held interrex.Held) error) (over bool, err error) {
	k.config.Logger.Infof("lease %s is held under token %d", h.key, h.token)
	defer h.cancel(nil)
	err = fn(h.ctx, h)
	k.ended(h, err)
	// The caller's context may have ended: the release has its own bounds.
	released := h.Release(context.WithoutCancel(h.ctx))
	if released != nil {
		k.config.Logger.Infof("cannot release lease %s: %v", h.key, released)
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

// ended logs how the function under a hold ended. One that returns because its
// context has ended has not failed.
func (k *Keeper) ended(h *held, err error) {
	if late := -h.left() - h.margin/2; late > 0 {
		k.config.Logger.Warningf("the work under %s, token %d, ended %s too late: until then only the token protected it", h.key, h.token, wording.Rounded(late.Round(time.Second/10)))
		k.config.Overstayed()
	}
	switch cause := context.Cause(h.ctx); {
	case err == nil || errors.Is(err, interrex.ErrStopCampaign):
		k.config.Logger.Infof("the work under %s ended", h.key)
	case cause != nil && (errors.Is(err, cause) || errors.Is(err, h.ctx.Err())):
		k.config.Logger.Infof("the work under %s ended: %v", h.key, cause)
	default:
		k.config.Logger.Warningf("the work under %s failed, a new campaign begins: %v", h.key, err)
	}
}
