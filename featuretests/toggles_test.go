package featuretests

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/manifolds"
)

const off = "off by configuration"

func TestLeasesAreSwitchedOffAndOnByTheFile(t *testing.T) {
	f := newFleet(t, 1, nil)
	c := f.client(0)
	claim := interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute}
	won, err := c.Leases().Claim(t.Context(), claim)
	if err != nil {
		t.Fatal(err)
	}
	before := f.worker(0, manifolds.RaftName).GetStarts()

	f.members[0].config.Features.Leases = config.Off
	f.write(f.members[0])
	changed, err := c.Reload(t.Context())
	if err != nil || len(changed) != 1 || changed[0] != "features" {
		t.Fatalf("the reload changes %v (%v), want features alone", changed, err)
	}
	eventually(t, "claims are disabled", func() error {
		_, err := c.Leases().Claim(t.Context(), claim)
		if errors.Is(err, interrex.ErrDisabled) {
			return nil
		}
		return fmt.Errorf("a claim gives %w", err)
	})
	f.shows(0, manifolds.LeasesFeatureName, "stopped", off)

	f.members[0].config.Features.Leases = config.On
	f.write(f.members[0])
	f.signal(0, syscall.SIGHUP)
	eventually(t, "leases are back", func() error {
		got, _, err := c.Leases().Get(t.Context(), claim.Key, interrex.ReadOptions{})
		if err == nil && got.Token != won.Lease.Token {
			err = fmt.Errorf("the lease has token %s, want %s", got.Token, won.Lease.Token)
		}
		return err
	})
	if after := f.worker(0, manifolds.RaftName).GetStarts(); after != before {
		t.Errorf("raft was started %d times, it was %d before: leases have no business with it", after, before)
	}
}

func TestNotifyIsSwitchedOffAndOnByTheFile(t *testing.T) {
	f := newFleet(t, 1, func(_ int, c *config.Config) { c.Notify.LeaseHolders = config.NotifySQLite })
	c := f.client(0)
	f.shows(0, manifolds.NotifyName, "started", "")

	f.members[0].config.Notify.LeaseHolders = config.NotifyOff
	f.write(f.members[0])
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.shows(0, manifolds.ProjectionName, "stopped", off)
	f.shows(0, manifolds.NotifyName, "stopped", "")
	won, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}

	f.members[0].config.Notify.LeaseHolders = config.NotifySQLite
	f.write(f.members[0])
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.holders(0, map[string]interrex.Lease{"app/db": won.Lease})
}

func TestReloadOfAWrongFileChangesNothing(t *testing.T) {
	f := newFleet(t, 1, nil)
	f.members[0].config.Raft.SnapshotRetention = -1
	f.write(f.members[0])
	if _, err := f.client(0).Reload(t.Context()); !errors.Is(err, interrex.ErrInvalid) || !strings.Contains(err.Error(), "snapshot-retention") {
		t.Errorf("the reload gives %v, want invalid, and the key", err)
	}
	f.answers(0)
}

// worker gives what the report of member i says of a worker.
func (f *fleet) worker(i int, name string) *interrexv1.Worker {
	f.t.Helper()
	name = manifolds.Config{}.Name(name)
	report, err := f.client(i).Report(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, w := range report.GetWorkers() {
		if w.GetName() == name {
			return w
		}
	}
	f.t.Fatalf("the report has no worker %s", name)
	return nil
}

// shows waits until the report of member i shows a worker in a state, with why.
func (f *fleet) shows(i int, name, state, why string) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("%s is %s", name, state), func() error {
		if w := f.worker(i, name); w.GetState() != state || !strings.Contains(w.GetError(), why) {
			return fmt.Errorf("it is %s: %q", w.GetState(), w.GetError())
		}
		return nil
	})
}
