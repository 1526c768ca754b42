package hold_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hold"
)

// refusing answers every claim with an error.
type refusing struct {
	hold.Backend
	err error
}

func (r refusing) Claim(context.Context, interrex.ClaimRequest) (interrex.LeaseAnswer, error) {
	return interrex.LeaseAnswer{}, r.err
}

func TestAClaimOfWhichNoAttemptHasHappenedIsNotUnknown(t *testing.T) {
	for _, c := range []struct {
		kind interrex.Kind
		want error
	}{
		{interrex.ErrUnavailable, interrex.ErrUnavailable},
		{interrex.ErrOutcomeUnknown, interrex.ErrOutcomeUnknown},
	} {
		synctest.Test(t, func(t *testing.T) {
			k, err := hold.New(hold.Config{Clock: newBubble(), Backend: refusing{err: interrex.Errorf(c.kind, "nobody is there")}})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			for _, wait := range []time.Duration{0, time.Minute} {
				_, err := k.Claim(t.Context(), interrex.ClaimRequest{Key: interrex.Key{Namespace: "default", Name: "db"}, Holder: "ann", Wait: wait})
				if !errors.Is(err, c.want) {
					t.Errorf("every attempt was %s, the claim with a wait of %s is %v", c.kind, wait, err)
				}
			}
		})
	}
}
