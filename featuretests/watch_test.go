package featuretests

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// lastWord is the name whose claim ends the comparison.
const lastWord = "a-last"

func TestWatchesLoseNothingAndDoubleNothingWhenTheirAgentsEnd(t *testing.T) {
	f := newFleet(t, 3, nil)
	leases := f.client(2, 0, 1).Leases()
	first, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("watched/a-first"), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	watching := f.client(0, 1, 2)
	const watches = 30
	var all sync.WaitGroup
	seen := make([][]string, watches)
	for i := range watches {
		all.Go(func() { seen[i] = history(t, watching, first.Revision, []string{"", "a"}[i%2]) })
	}
	write := func(part string) {
		t.Helper()
		for n := range 200 {
			k := key(fmt.Sprintf("watched/%c-%s-%d", "ab"[n%2], part, n))
			won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: k, Holder: "ann", TTL: time.Hour})
			if err != nil {
				t.Fatalf("%s: %v", k, err)
			}
			if n%3 > 0 {
				continue
			}
			if _, err := leases.Revoke(t.Context(), interrex.RevokeRequest{Key: k, Token: won.Lease.Token}); err != nil {
				t.Fatalf("%s: %v", k, err)
			}
		}
	}
	write("before")
	f.signal(0, syscall.SIGTERM)
	write("draining")
	f.exit(0)
	f.start(0)
	f.answers(0)
	f.kill(1)
	write("after")
	if _, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("watched/" + lastWord), Holder: "ann", TTL: time.Hour}); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	// The agent that was never stopped knows what happened.
	whole := history(t, f.client(2), first.Revision, "")
	onlyA := slices.DeleteFunc(slices.Clone(whole), func(e string) bool { return !strings.Contains(e, "watched/a") })
	if len(whole) < 600 || len(onlyA) < 300 {
		t.Fatalf("only %d and %d events are delivered", len(whole), len(onlyA))
	}
	for i, events := range seen {
		if want := [][]string{whole, onlyA}[i%2]; !slices.Equal(events, want) {
			t.Errorf("watch %d saw %d events, want %d: %s", i, len(events), len(want), difference(events, want))
		}
	}
}

// history returns what a watch shows, up to the last word.
func history(t *testing.T, c *client.Client, since interrex.Revision, prefix string) (seen []string) {
	w, err := c.Leases().Watch(t.Context(), interrex.WatchRequest{Since: since, Namespace: "watched", Prefix: prefix})
	if err != nil {
		t.Error(err)
		return nil
	}
	defer w.Close()
	for {
		e, err := w.Next(t.Context())
		if err != nil {
			t.Errorf("a watch has ended after %d events: %v", len(seen), err)
			return seen
		}
		seen = append(seen, fmt.Sprintf("%d %s %s", e.Revision, e.Kind, e.Lease.Key))
		if e.Lease.Key.Name == lastWord {
			return seen
		}
	}
}

// difference returns where two histories differ.
func difference(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("number %d is %q, want %q", i, a[i], b[i])
		}
	}
	return "the one goes on where the other ends"
}
