package featuretests

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

// cutPatience is how long a cluster may be without an answer after a one-way
// cut that leaves a majority connected.
const cutPatience = 30 * time.Second

// Each direction between the leader and its followers, and between those, is cut
// while the opposite one stays open. An agent that a majority can talk with in
// both directions answers soon, and no answer is ever wrong.
func TestOneWayCutsNeitherStopNorSplitTheCluster(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	l := startLoad(t, c.Client(0), c.Client(1), c.Client(2))
	for n, cut := range []struct {
		name string
		ways func(leader, one, other int) [][2]int
		// speaks is an agent that remains in a majority.
		speaks func(leader, one, other int) int
	}{
		{"the leader is mute", func(l, a, b int) [][2]int { return [][2]int{{l, a}, {l, b}} }, second},
		{"the leader is deaf", func(l, a, b int) [][2]int { return [][2]int{{a, l}, {b, l}} }, second},
		{"the leader does not reach one", func(l, a, _ int) [][2]int { return [][2]int{{l, a}} }, third},
		{"one does not reach the leader", func(l, a, _ int) [][2]int { return [][2]int{{a, l}} }, third},
		{"one follower does not reach the other", func(_, a, b int) [][2]int { return [][2]int{{a, b}} }, third},
	} {
		leader := c.Leader()
		one, other := (leader+1)%3, (leader+2)%3
		for _, way := range cut.ways(leader, one, other) {
			c.Cut(way[0], way[1])
		}
		at := cut.speaks(leader, one, other)
		took := answered(t, c.Client(at).Leases(), fmt.Sprintf("cut/%d", n))
		t.Logf("%s: agent %d answered after %s", cut.name, at, took.Round(time.Millisecond))
		pause(t.Context(), time.Second)
		c.Heal()
		for i, a := range c.Agents() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			if err := a.Ready(ctx); err != nil {
				t.Errorf("%s: agent %d is not ready after it is healed: %v", cut.name, i, err)
			}
			cancel()
		}
	}
	l.check(t, 800)
}

func second(_, one, _ int) int  { return one }
func third(_, _, other int) int { return other }

// answered claims a free name until it has an answer.
func answered(t *testing.T, leases interrex.Leases, name string) time.Duration {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), cutPatience)
	defer cancel()
	if _, err := leases.Claim(ctx, interrex.ClaimRequest{Key: key(name), Holder: "ann"}); err != nil {
		t.Errorf("a claim was not answered within %s: %v", cutPatience, err)
	}
	return time.Since(began)
}

func TestLeaderThatIsCutOffAnswersNoStrongRead(t *testing.T) {
	c := interrextest.StartCluster(t, interrextest.ClusterConfig{Size: 3})
	leader := c.Leader()
	other := (leader + 1) % 3
	all, cut := c.Client(other).Leases(), c.Client(leader).Leases()
	won, err := all.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	c.Isolate(leader)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if got, _, err := cut.Get(ctx, won.Lease.Key, interrex.ReadOptions{Consistency: interrex.Strong}); err == nil {
		t.Errorf("a leader whose messages are lost answers a strong read: %+v", got)
	}
	if got, _, err := cut.Get(t.Context(), won.Lease.Key, interrex.ReadOptions{Consistency: interrex.Eventual}); err != nil || got.Token != won.Lease.Token {
		t.Errorf("an eventual read there returns %+v, %v: it needs no other agent", got, err)
	}
	if _, err := all.Revoke(t.Context(), interrex.RevokeRequest{Key: won.Lease.Key, Token: won.Lease.Token}); err != nil {
		t.Errorf("the others do not go on: %v", err)
	}
	c.Heal()
	if _, _, err := cut.Get(t.Context(), won.Lease.Key, interrex.ReadOptions{}); interrex.KindOf(err) != interrex.ErrNotFound {
		t.Errorf("after the cut, a strong read returns %v, want not found", err)
	}
}
