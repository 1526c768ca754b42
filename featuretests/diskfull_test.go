package featuretests

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
)

// smallDisk puts member i on its own disk of a few MiB.
func smallDisk(t *testing.T, size string) func(i int, c *config.Config) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test mounts a small file system, which only root may: it did not run")
	}
	return func(_ int, c *config.Config) {
		if err := os.MkdirAll(c.Agent.DataDir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", c.Agent.DataDir, "tmpfs", 0, "size="+size); err != nil {
			t.Fatalf("cannot mount a tmpfs: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(c.Agent.DataDir, syscall.MNT_DETACH) })
	}
}

// fill fills the disk of member i completely.
func (f *fleet) fill(i int) {
	f.t.Helper()
	ballast, err := os.Create(filepath.Join(f.members[i].config.Agent.DataDir, "ballast"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer ballast.Close()
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := ballast.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
}

// fillLog claims and revokes with much metadata until a call fails or ctx ends.
func fillLog(ctx context.Context, leases interrex.Leases, k interrex.Key) error {
	metadata := map[string]string{"padding": strings.Repeat("x", 4000)}
	for ctx.Err() == nil {
		a, err := leases.Claim(ctx, interrex.ClaimRequest{Key: k, Holder: "ann", TTL: time.Minute, Metadata: metadata})
		if err != nil {
			return err
		}
		if _, err := leases.Revoke(ctx, interrex.RevokeRequest{Key: k, Token: a.Lease.Token}); err != nil {
			return err
		}
	}
	return nil
}

func TestFullDiskIsATypedErrorAndNoCrash(t *testing.T) {
	f := newFleet(t, 1, smallDisk(t, "96m"))
	f.fill(0)
	leases := dial(t, client.Config{Addresses: []string{f.socket(0)}, Timeout: 3 * time.Second}).Leases()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := fillLog(ctx, leases, key("app/db"))
	if kind := interrex.KindOf(err); kind != interrex.ErrOutcomeUnknown && !kind.Retryable() {
		t.Errorf("the claims ended with %v (%s), want an error that says that the agent cannot now", err, kind)
	}
	t.Logf("the first call that failed: %v", err)
	f.logged(0, "disk full")
	if code, text := f.post(0, "Claim", `{"key":"app/web","holder":"ann"}`); code != http.StatusServiceUnavailable || !strings.Contains(text, `"kind":"no leader"`) {
		t.Errorf("a later claim by HTTP returns %d, %s: want 503, no leader: nothing has happened", code, text)
	}
	f.alarms(0, "disk-full", "disk-low")
	_, _, err = leases.Get(t.Context(), key("app/nobody"), interrex.ReadOptions{Consistency: interrex.Eventual})
	if interrex.KindOf(err) != interrex.ErrNotFound {
		t.Errorf("a read of what is there returns %v, want not found", err)
	}
	f.lives(0)
}

func TestFullDiskOfTheLeaderIsNoOutage(t *testing.T) {
	f := newFleet(t, 3, smallDisk(t, "96m"))
	leader := f.leader()
	f.fill(leader)
	rest := f.client(f.others(leader)...).Leases()
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() { _ = fillLog(ctx, rest, key(fmt.Sprintf("fill/%d", i))) })
	}
	f.logged(leader, "disk full")
	next := f.leader(f.others(leader)...)
	stop()
	callers.Wait()
	if _, err := rest.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann"}); err != nil {
		t.Errorf("under the new leader %s, a claim returns %v", f.id(next), err)
	}
	if _, err := f.status(leader); err != nil {
		t.Errorf("the agent with the full disk says nothing about itself any more: %v", err)
	}
	f.lives(leader)
}

// post calls a method of the lease service of member i as curl does.
func (f *fleet) post(i int, method, body string) (code int, text string) {
	f.t.Helper()
	url := "http://" + f.members[i].config.API.Listen + "/interrex.v1.LeaseService/" + method
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// lives checks that the process of member i has not ended.
func (f *fleet) lives(i int) {
	f.t.Helper()
	select {
	case <-f.members[i].gone:
		f.t.Errorf("%s has ended", f.id(i))
	default:
	}
}
