package featuretests

import (
	"context"
	"time"

	"github.com/interrex/interrex"
)

// Recorder is one caller whose calls are recorded in a history. A holder's name must
// be used only once, so that a read shows which claim it sees.
type Recorder struct {
	Leases  interrex.Leases
	History *History
	Client  int
}

// Claim claims once, without waiting.
func (r Recorder) Claim(ctx context.Context, key interrex.Key, holder string, ttl time.Duration) (interrex.Token, error) {
	done := r.History.call(r.Client, request{verb: claim, key: key, holder: holder, ttl: ttl})
	a, err := r.Leases.Claim(ctx, interrex.ClaimRequest{Key: key, Holder: holder, TTL: ttl})
	out := answer{result: outcomeOf(err), holder: holder, token: a.Lease.Token}
	if interrex.KindOf(err) == interrex.ErrNotHeld {
		out.result = unknown // granted to an earlier attempt, and over
	}
	done(out)
	return a.Lease.Token, err
}

// Extend extends a lease by its ttl.
func (r Recorder) Extend(ctx context.Context, key interrex.Key, token interrex.Token, ttl time.Duration) error {
	done := r.History.call(r.Client, request{verb: extend, key: key, token: token, ttl: ttl})
	_, err := r.Leases.Extend(ctx, interrex.ExtendRequest{Key: key, Token: token, TTL: ttl})
	done(answer{result: outcomeOf(err)})
	return err
}

// Revoke ends a lease.
func (r Recorder) Revoke(ctx context.Context, key interrex.Key, token interrex.Token) error {
	done := r.History.call(r.Client, request{verb: revoke, key: key, token: token})
	_, err := r.Leases.Revoke(ctx, interrex.RevokeRequest{Key: key, Token: token})
	done(answer{result: outcomeOf(err)})
	return err
}

// Get reads a lease with a strong read.
func (r Recorder) Get(ctx context.Context, key interrex.Key) (interrex.Lease, error) {
	done := r.History.call(r.Client, request{verb: get, key: key})
	l, _, err := r.Leases.Get(ctx, key, interrex.ReadOptions{Consistency: interrex.Strong})
	done(answer{result: outcomeOf(err), holder: l.Holder, token: l.Token})
	return l, err
}
