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

// fill fills the disk of member i, and leaves that many bytes of it.
func (f *fleet) fill(i int, left int64) {
	f.t.Helper()
	ballast, err := os.Create(f.ballast(i))
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
	size, err := ballast.Seek(0, io.SeekCurrent)
	if err == nil {
		err = ballast.Truncate(size - left)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) ballast(i int) string { return filepath.Join(f.data(i), "ballast") }

// Before the disk is full, the agent refuses claims, and goes on to extend and to
// revoke. When space is freed it lets everything in again.
func TestExtendsGoOnWhileAlmostNoDiskSpaceIsLeft(t *testing.T) {
	f := newFleet(t, 1, smallDisk(t, "96m"))
	leases := dial(t, client.Config{Addresses: []string{f.socket(0)}, Timeout: 3 * time.Second}).Leases()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f.fill(0, 2<<20)
	f.refusesWrites(0, leases)
	for range 100 {
		if _, err := leases.Extend(t.Context(), interrex.ExtendRequest{Key: key("app/db"), Token: won.Lease.Token}); err != nil {
			t.Fatalf("an extend returns %v", err)
		}
	}
	if _, err := leases.Revoke(t.Context(), interrex.RevokeRequest{Key: key("app/db"), Token: won.Lease.Token}); err != nil {
		t.Errorf("a revoke returns %v", err)
	}
	f.alarms(0, "disk-full", "disk-low")
	if _, _, err := leases.Get(t.Context(), key("app/nobody"), interrex.ReadOptions{}); interrex.KindOf(err) != interrex.ErrNotFound {
		t.Errorf("a read returns %v, want not found", err)
	}
	f.letsInAgain(leases, 0)
	f.lives(0)
}

// A leader with a large disk does not fill the small ones of its followers: without
// them it could not extend any more.
func TestALeaderSparesTheDisksOfItsFollowers(t *testing.T) {
	f := newFleet(t, 3, smallDisk(t, "96m"))
	leader := f.leader()
	followers := f.others(leader)
	leases := dial(t, client.Config{Addresses: []string{f.socket(leader)}, Timeout: 3 * time.Second}).Leases()
	won, err := leases.Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range followers {
		f.fill(i, 2<<20)
	}
	f.refusesWrites(leader, leases)
	if _, err := leases.Extend(t.Context(), interrex.ExtendRequest{Key: key("app/db"), Token: won.Lease.Token}); err != nil {
		t.Errorf("an extend returns %v", err)
	}
	f.letsInAgain(leases, followers...)
}

// refusesWrites waits until claims are refused for want of disk space.
func (f *fleet) refusesWrites(i int, leases interrex.Leases) {
	f.t.Helper()
	eventually(f.t, "claims are refused for want of disk space", func() error {
		won, err := leases.Claim(f.t.Context(), interrex.ClaimRequest{Key: key("app/other"), Holder: "bob", TTL: time.Second, Takeover: true})
		if interrex.KindOf(err) == interrex.ErrOverloaded && strings.Contains(err.Error(), "nothing is written but extends and revokes") {
			return nil
		}
		return fmt.Errorf("a claim returns %+v, %w", won, err)
	})
	if code, text := f.post(i, "Claim", `{"key":"app/web","holder":"ann"}`); code != http.StatusTooManyRequests || !strings.Contains(text, `"kind":"overloaded"`) {
		f.t.Errorf("a claim by HTTP returns %d, %s", code, text)
	}
}

// letsInAgain waits until claims are let in after space was freed.
func (f *fleet) letsInAgain(leases interrex.Leases, full ...int) {
	f.t.Helper()
	for _, i := range full {
		if err := os.Remove(f.ballast(i)); err != nil {
			f.t.Fatal(err)
		}
	}
	eventually(f.t, "claims are let in again", func() error {
		_, err := leases.Claim(f.t.Context(), interrex.ClaimRequest{Key: key("app/other"), Holder: "bob", TTL: time.Second, Takeover: true})
		return err
	})
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

func TestFullDiskOfTheLeaderIsNoOutage(t *testing.T) {
	f := newFleet(t, 3, smallDisk(t, "96m"))
	leader := f.leader()
	f.fill(leader, 0)
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
	f.alarms(leader, "disk-full", "disk-low")
	old := dial(t, client.Config{Addresses: []string{f.socket(leader)}, OneShot: true}).Leases()
	if _, _, err := old.Get(t.Context(), key("app/nobody"), interrex.ReadOptions{Consistency: interrex.Eventual}); interrex.KindOf(err) != interrex.ErrNotFound {
		t.Errorf("a read of what is there returns %v, want not found", err)
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
