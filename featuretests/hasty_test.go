package featuretests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/interrextest"
)

// A leader that is cut off is silent, and its follower does not know it yet. If only
// its answers are lost, the request is done all the same.
func TestCallerWithLittleTimeIsAnsweredThoughTheLeaderIsSilent(t *testing.T) {
	t.Parallel()
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	for name, cut := range map[string]func(leader, follower int){
		"the leader is cut off": func(l, _ int) { c.Isolate(l) },
		"its answers are lost":  c.Cut,
	} {
		t.Run(name, func(t *testing.T) {
			leader := c.Leader()
			h := hasty{t: t, name: name, ways: hastyWays(t, c.Agent((leader+1)%3))}
			h.claim(func() { cut(leader, (leader+1)%3) })
			c.Heal()
			h.check(c.Client().Leases())
		})
	}
}

const hastyTime = 300 * time.Millisecond

// hastyWays are all ways to an agent, and a client whose calls have a short timeout.
func hastyWays(t *testing.T, a *agent.Agent) []way {
	short := dial(t, client.Config{Addresses: []string{apiOf(a)}, Timeout: hastyTime})
	return append(ways(t, a), way{"a client of short calls", short.Leases()})
}

// hasty is a claim by each way, with little time.
type hasty struct {
	t       *testing.T
	name    string
	ways    []way
	answers []claimed
}

func (h *hasty) request(i int) interrex.ClaimRequest {
	return interrex.ClaimRequest{
		Key: key(fmt.Sprintf("hasty/%s/%d", h.name, i)), Holder: "ann", TTL: time.Hour, RequestID: fmt.Sprint(h.name, i),
	}
}

// claim makes the claims after the cut. All connections exist before.
func (h *hasty) claim(cut func()) {
	h.t.Helper()
	for _, w := range h.ways {
		if _, _, err := w.leases.Get(h.t.Context(), key("hasty/nobody"), interrex.ReadOptions{}); !errors.Is(err, interrex.ErrNotFound) {
			h.t.Fatal(err)
		}
	}
	cut()
	h.answers = make([]claimed, len(h.ways))
	var calls sync.WaitGroup
	began := time.Now()
	for i, w := range h.ways {
		calls.Go(func() {
			ctx := h.t.Context()
			if i < len(h.ways)-1 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, hastyTime)
				defer cancel()
			}
			h.answers[i].LeaseAnswer, h.answers[i].err = w.leases.Claim(ctx, h.request(i))
		})
	}
	calls.Wait()
	if took := time.Since(began); took > hastyTime+10*time.Second {
		h.t.Errorf("the answers took %s, want about %s", took, hastyTime)
	}
}

func (h *hasty) check(leases interrex.Leases) {
	h.t.Helper()
	for i, a := range h.answers {
		kind := interrex.KindOf(a.err)
		l, _, err := leases.Get(h.t.Context(), h.request(i).Key, interrex.ReadOptions{})
		h.t.Logf("by %s: %v, and there is %q", h.ways[i].name, a.err, l.Holder)
		switch {
		case a.err == nil && l.Token != a.Lease.Token: // another leader was there in time
			h.t.Errorf("by %s the lease is granted under %s, and there is %+v (%v)", h.ways[i].name, a.Lease.Token, l, err)
		case kind.Retryable() && !errors.Is(err, interrex.ErrNotFound):
			h.t.Errorf("by %s the answer is that nothing has happened (%v), and there is %+v (%v)", h.ways[i].name, a.err, l, err)
		case a.err != nil && !kind.Retryable() && kind != interrex.ErrOutcomeUnknown:
			h.t.Errorf("by %s the answer is %v", h.ways[i].name, a.err)
		}
	}
}
