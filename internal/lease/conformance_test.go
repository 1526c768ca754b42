package lease_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestTableConforms(t *testing.T) {
	statetest.Run(t, statetest.Config{
		New:     func() state.Table { return lease.New() },
		Command: randomCommand,
	})
}

// randomCommand names few keys, holders and owners, and mostly tokens that have
// been answered.
func randomCommand(r *rand.Rand, seen []state.Reply) []byte {
	k, token := interrex.Key{Namespace: fmt.Sprint("n", r.IntN(2)), Name: fmt.Sprint("k", r.IntN(4))}, interrex.Token(1+r.IntN(50))
	if len(seen) > 0 && r.IntN(8) > 0 {
		last := seen[len(seen)-1-r.IntN(min(8, len(seen)))].(*lease.Reply).Lease
		k, token = last.Key, last.Token
	}
	holder, owner := fmt.Sprint("h", r.IntN(3)), fmt.Sprint("o", r.IntN(3))
	ttl := time.Duration(1+r.IntN(20)) * time.Second
	switch r.IntN(10) {
	case 0, 1, 2:
		c := &lease.Claim{Key: k, Holder: holder, TTL: ttl, Takeover: r.IntN(2) == 0}
		if r.IntN(3) == 0 {
			c.Metadata = must(codec.NewMetadata(map[string]string{"pid": fmt.Sprint(r.IntN(9)), "zone": holder}))
		}
		return c.Append(nil)
	case 3, 4:
		return (&lease.Extend{Key: k, Token: token, TTL: ttl * time.Duration(r.IntN(2))}).Append(nil)
	case 5:
		return (&lease.Revoke{Key: k, Token: token, Force: r.IntN(2) == 0}).Append(nil)
	case 6:
		return (&lease.Transfer{Key: k, Token: token, To: holder, TTL: ttl * time.Duration(r.IntN(2))}).Append(nil)
	case 7, 8:
		return (&lease.Pin{Key: k, Owner: owner, Reason: "test", For: ttl * time.Duration(r.IntN(2))}).Append(nil)
	default:
		return (&lease.Unpin{Key: k, Owner: owner}).Append(nil)
	}
}
