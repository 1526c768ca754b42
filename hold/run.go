package hold

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
)

// steady is how long fn must have run for the next campaign to begin with the
// shortest backoff again.
const steady = 10 * time.Second

// Run campaigns for key, runs fn under the hold's context, waits for fn,
// releases, and campaigns again: see interrex.Leases. An error of fn is logged
// and ends nothing. The lease is never released while fn runs: an fn that
// overstays its context lets it run out, and keeps this Run from campaigning.
func (k *Keeper) Run(ctx context.Context, key string, o interrex.HoldOptions, fn func(ctx context.Context, held interrex.Held) error) error {
	r, err := k.request(key, o)
	if err != nil {
		return err
	}
	ctx, cancel := k.bound(ctx)
	defer cancel(nil)
	for failures := 0; ; failures++ {
		began := k.config.Clock.Now()
		held, err := k.campaign(ctx, r, -1)
		if err == nil {
			began = k.config.Clock.Now()
			err = k.term(held, fn)
		} else if ctx.Err() == nil { // no retry mends it, or the Keeper is closed
			return err
		}
		if err != nil {
			k.config.Logger.Infof("hold of %s ended: %v", r.Key, err)
		}
		if k.config.Clock.Now()-began >= steady {
			failures = 0
		}
		if !sleep(ctx, backoff(failures, 5*time.Second)) {
			return context.Cause(ctx)
		}
	}
}

// term is one hold from its begin to its release. When fn panics the hold ends
// and is not released: nothing says that its work has stopped.
func (k *Keeper) term(h *held, fn func(ctx context.Context, held interrex.Held) error) error {
	k.config.Logger.Infof("%s is held under token %d", h.key, h.token)
	defer h.cancel(nil)
	err := fn(h.ctx, h)
	if late := -h.left() - h.margin/2; late > 0 {
		k.config.Logger.Warningf("the work under %s, token %d, ended %s after it had to: only the token protected it", h.key, h.token, late)
	}
	// The caller's context may have ended: the release has bounds of its own.
	return errors.Join(err, h.Release(context.WithoutCancel(h.ctx)))
}
