package agent

import (
	"context"
	"errors"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/hold"
)

// restartWait is how long a call waits for leases that are about to start: those
// of an agent that has just been started, or whose worker a reload restarts.
const restartWait = 5 * time.Second

// restartPause is what a campaign leaves the worker that it runs on for its end.
const restartPause = 100 * time.Millisecond

// leases are those of the agent's present life.
type leases struct{ agent *Agent }

var _ interrex.Leases = leases{}

// now gives the leases that run, or why there are none.
func (l leases) now(ctx context.Context) (interrex.Leases, error) {
	end := l.agent.end()
	r := l.agent.running()
	if r == nil {
		return nil, interrex.Errorf(interrex.KindUnavailable, "%v", ErrStopped)
	}
	ctx, cancel := context.WithTimeout(ctx, restartWait)
	defer cancel()
	for {
		changed, _ := r.set.Starts.Failed()
		if now := r.set.Present.Leases(); now != nil {
			return now, nil
		}
		if !r.set.LeasesOn() {
			return nil, interrex.Errorf(interrex.KindDisabled, "leases are off by configuration: set features.leases")
		}
		select {
		case <-changed:
		case <-end:
			return nil, interrex.Errorf(interrex.KindUnavailable, "%v", ErrStopped)
		case <-ctx.Done():
			return nil, interrex.Errorf(interrex.KindUnavailable, "the agent's leases are being restarted: try again").WithCause(ctx.Err())
		}
	}
}

func (l leases) Hold(ctx context.Context, key string, o interrex.HoldOptions) (interrex.Held, error) {
	now, err := l.now(ctx)
	if err != nil {
		return nil, err
	}
	return now.Hold(ctx, key, o)
}

// Run goes on campaigning when the worker behind it was restarted.
func (l leases) Run(ctx context.Context, key string, o interrex.HoldOptions, fn func(ctx context.Context, held interrex.Held) error) error {
	for {
		now, err := l.now(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if err := now.Run(ctx, key, o, fn); !errors.Is(err, hold.ErrClosed) || l.agent.Status().Draining {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(restartPause):
		}
	}
}

func (l leases) Claim(ctx context.Context, r interrex.ClaimRequest) (a interrex.LeaseAnswer, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return a, err
	}
	return now.Claim(ctx, r)
}

func (l leases) Extend(ctx context.Context, r interrex.ExtendRequest) (a interrex.LeaseAnswer, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return a, err
	}
	return now.Extend(ctx, r)
}

func (l leases) Revoke(ctx context.Context, r interrex.RevokeRequest) (a interrex.RevokeAnswer, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return a, err
	}
	return now.Revoke(ctx, r)
}

func (l leases) Transfer(ctx context.Context, r interrex.TransferRequest) (a interrex.LeaseAnswer, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return a, err
	}
	return now.Transfer(ctx, r)
}

func (l leases) Pin(ctx context.Context, r interrex.PinRequest) (a interrex.LeaseAnswer, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return a, err
	}
	return now.Pin(ctx, r)
}

func (l leases) Unpin(ctx context.Context, r interrex.PinRequest) (a interrex.LeaseAnswer, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return a, err
	}
	return now.Unpin(ctx, r)
}

func (l leases) Get(ctx context.Context, key interrex.Key, o interrex.ReadOptions) (interrex.Lease, interrex.Revision, error) {
	now, err := l.now(ctx)
	if err != nil {
		return interrex.Lease{}, 0, err
	}
	return now.Get(ctx, key, o)
}

func (l leases) List(ctx context.Context, r interrex.ListRequest) (p interrex.LeasePage, err error) {
	now, err := l.now(ctx)
	if err != nil {
		return p, err
	}
	return now.List(ctx, r)
}

func (l leases) History(ctx context.Context, key interrex.Key) ([]interrex.PastLease, interrex.Revision, error) {
	now, err := l.now(ctx)
	if err != nil {
		return nil, 0, err
	}
	return now.History(ctx, key)
}

func (l leases) Watch(ctx context.Context, r interrex.WatchRequest) (interrex.LeaseWatch, error) {
	now, err := l.now(ctx)
	if err != nil {
		return nil, err
	}
	return now.Watch(ctx, r)
}
