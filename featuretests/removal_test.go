package featuretests

import (
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/membership"
)

// One agent is removed while it runs, another one while it is off, and learns of it from
// the others when it is started, twice.
func TestARemovedAgentSaysSoAndGoesOn(t *testing.T) {
	f := newFleet(t, 5, func(_ int, c *config.Config) { // with a CA, so that the founders are recorded
		text, err := os.ReadFile(c.Cluster.TLS.CA)
		if err == nil {
			block, _ := pem.Decode(text)
			err = errors.Join(os.MkdirAll(c.Agent.DataDir, 0o700), membership.Charter{CA: block.Bytes}.Save(c.Agent.DataDir))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	leader := f.leader()
	others := f.others(leader)
	running, off := others[0], others[1]
	rest := f.client(leader, others[2], others[3])
	eventually(t, f.id(off)+" knows its cluster", func() error {
		_, err := f.client(off).Leases().List(t.Context(), interrex.ListRequest{})
		return err
	})
	f.kill(off)
	for _, i := range []int{off, running} { // as voters of a cluster with a CA of its own have it
		if err := os.WriteFile(filepath.Join(f.members[i].config.Agent.DataDir, authority.KeyName), []byte("a key"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range []int{off, running} {
		eventually(t, f.id(i)+" is removed", func() error {
			_, err := rest.Members().Remove(t.Context(), f.id(i))
			return err // not found until the leader has seen it
		})
	}
	eventually(t, "raft is without them", func() error {
		members, _, err := rest.Members().List(t.Context(), interrex.ReadOptions{})
		if err == nil && slices.ContainsFunc(members, func(m interrex.Member) bool { return m.ID == f.id(off) || m.ID == f.id(running) }) {
			err = fmt.Errorf("the members are %v", members)
		}
		return err
	})
	f.saysRemoved(running)
	for range 2 {
		f.start(off)
		f.saysRemoved(off)
		f.kill(off)
	}
	for _, i := range []int{off, running} {
		if f.hasKey(i) {
			t.Errorf("%s was removed, and has the CA's key", f.id(i))
		}
	}
	if _, err := rest.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute}); err != nil {
		t.Error(err)
	}
	// Callers that know all agents are served by those that are in.
	if _, _, err := f.client().Leases().Get(t.Context(), key("app/db"), interrex.ReadOptions{}); err != nil {
		t.Error(err)
	}
}

// saysRemoved waits until member i answers that it was removed, and has the alarm.
func (f *fleet) saysRemoved(i int) {
	f.t.Helper()
	var c *client.Client
	eventually(f.t, f.id(i)+" answers that it was removed", func() error {
		if c == nil {
			c = f.client(i)
		}
		_, err := c.Leases().Claim(f.t.Context(), interrex.ClaimRequest{Key: key("app/other"), Holder: "ann", TTL: time.Minute})
		if !errors.Is(err, interrex.ErrRemoved) || strings.Count(err.Error(), "was removed") != 1 {
			return fmt.Errorf("a claim returns %w", err)
		}
		_, _, err = c.Leases().Get(f.t.Context(), key("app/db"), interrex.ReadOptions{Consistency: interrex.Eventual})
		if !errors.Is(err, interrex.ErrRemoved) {
			return fmt.Errorf("a read returns %w", err)
		}
		return nil
	})
	f.logged(i, "removed from cluster")
}
