package assembly

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/testworker"
)

// deserted is a network in which nobody responds.
type deserted struct{}

func (deserted) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("connection refused")
}

// lose makes another agent, which does not exist, a voter: the quorum is lost.
func (w *world) lose(t *testing.T) {
	t.Helper()
	w.view().Running().AddVoter("b2", "b2", 0, 0)
	next := w.section()
	next.Cluster.Join = []string{"127.0.0.1:1"}
	w.configuration.Swap(next)
	for w.Leadership.Current().Leader {
		time.Sleep(time.Second)
	}
}

func TestAnOrderedRecoveryReplacesWhatUsesTheDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *AgentConfig) { c.Dialer = deserted{} })
		w.settle(t)
		before := claim(t, w, "mine/before")
		w.lose(t)
		w.recovery.order()
		w.settle(t)
		if epoch := w.State().Identity().Epoch.Number; epoch != 1 || w.recovery.failure() != nil {
			t.Fatalf("epoch %d, %v", epoch, w.recovery.failure())
		}
		time.Sleep(time.Minute) // the pause after a recovery
		if after := claim(t, w, "mine/before"); after <= before {
			t.Errorf("token %d after %d", after, before)
		}
		if servers := w.view().Running().GetConfiguration().Configuration().Servers; len(servers) != 1 {
			t.Errorf("the members are %v", servers)
		}
		testworker.Stop(t, w.engine)
	})
}

// A recovery that is not needed changes nothing, and the next order is heard.
func TestAnOrderThatIsRefusedChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *AgentConfig) { c.Dialer = deserted{} })
		w.settle(t)
		for range 2 { // the only voter needs none
			w.recovery.order()
			time.Sleep(time.Second)
			w.settle(t)
		}
		kept, _ := filepath.Glob(filepath.Join(w.config.Agent.DataDir, "before-recovery*"))
		if epoch := w.State().Identity().Epoch.Number; epoch != 0 || len(kept) > 0 || w.recovery.failure() != nil || w.runs(recoveryName) != 3 {
			t.Errorf("epoch %d, %v, %v, %d runs", epoch, kept, w.recovery.failure(), w.runs(recoveryName))
		}
		testworker.Stop(t, w.engine)
	})
}

func claim(t *testing.T, w *world, key string) interrex.Token {
	t.Helper()
	k, err := interrex.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	won, err := w.Client().Leases().Claim(t.Context(), interrex.ClaimRequest{Key: k, Holder: "ann", TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return won.Lease.Token
}
