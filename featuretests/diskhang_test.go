package featuretests

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/config"
)

// ownDisk puts each member on a file system of its own, which can be frozen.
func ownDisk(t *testing.T) func(i int, c *config.Config) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test mounts file systems, which only root may: it did not run")
	}
	return func(_ int, c *config.Config) {
		image := c.Agent.DataDir + ".img"
		for _, do := range [][]string{
			{"truncate", "-s", "160M", image}, {"mkfs.ext4", "-q", image},
			{"mkdir", "-p", "-m", "700", c.Agent.DataDir}, {"mount", "-o", "loop", image, c.Agent.DataDir},
		} {
			if out, err := exec.Command(do[0], do[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("this test needs a file system in a file, which root can make with e2fsprogs: %v: %v: %s", do, err, out)
			}
		}
		t.Cleanup(func() { _ = syscall.Unmount(c.Agent.DataDir, syscall.MNT_DETACH) })
	}
}

// The requests of ioctl(2) that freeze a file system, and thaw it: see linux/fs.h.
const fiFreeze, fiThaw = 0xC0045877, 0xC0045878

// freeze makes every write to the disk of member i hang, until thaw is called.
func (f *fleet) freeze(i int) (thaw func()) {
	f.t.Helper()
	dir, err := os.Open(f.data(i))
	if err != nil {
		f.t.Fatal(err)
	}
	if err := unix.IoctlSetInt(int(dir.Fd()), fiFreeze, 0); err != nil {
		f.t.Fatal(err)
	}
	thawed := false
	thaw = func() {
		if !thawed {
			thawed = true
			_ = unix.IoctlSetInt(int(dir.Fd()), fiThaw, 0)
			_ = dir.Close()
		}
	}
	f.t.Cleanup(thaw) // before the fleet ends: what hangs cannot be killed
	return thaw
}

// A leader whose disk hangs cannot hand over. It falls silent, another one leads, and
// when the disk is back the agent catches up by itself.
func TestAHungDiskOfTheLeaderIsNoOutage(t *testing.T) {
	f := newFleet(t, 3, ownDisk(t))
	leader := f.leader()
	rest := dial(t, client.Config{Addresses: []string{f.socket(f.others(leader)[0]), f.socket(f.others(leader)[1])}, Timeout: patience}).Leases()
	thaw := f.freeze(leader)
	hung := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	won, err := rest.Claim(ctx, interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("a claim was granted %s after the disk hung, under %s", time.Since(hung).Round(time.Millisecond), f.id(f.leader(f.others(leader)...)))
	f.alarms(leader, "disk-hung")
	thaw()
	old := dial(t, client.Config{Addresses: []string{f.socket(leader)}, Timeout: patience}).Leases()
	eventually(t, "the agent whose disk hung has caught up", func() error {
		_, _, err := old.Get(t.Context(), key("app/db"), interrex.ReadOptions{Consistency: interrex.Eventual, MinRevision: interrex.Revision(won.Lease.Token)})
		return err
	})
	f.alarms(leader)
	f.lives(leader)
}
