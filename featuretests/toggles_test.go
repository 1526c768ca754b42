package featuretests

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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
		t.Fatalf("the reload changes %v (%v), want only features", changed, err)
	}
	eventually(t, "claims are disabled", func() error {
		_, err := c.Leases().Claim(t.Context(), claim)
		if errors.Is(err, interrex.ErrDisabled) {
			return nil
		}
		return fmt.Errorf("a claim returns %w", err)
	})
	f.shows(0, manifolds.DefaultPrefix+"feature-leases", "stopped", off)

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
	f := newFleet(t, 1, func(_ int, c *config.Config) { c.Notify.LeaseHolders = "sqlite" })
	c := f.client(0)
	f.shows(0, manifolds.DefaultPrefix+"lease-notify", "started", "")

	f.members[0].config.Notify.LeaseHolders = "off"
	f.write(f.members[0])
	if _, err := c.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.shows(0, manifolds.DefaultPrefix+"projection", "stopped", off)
	f.shows(0, manifolds.DefaultPrefix+"lease-notify", "stopped", "")
	won, err := c.Leases().Claim(t.Context(), interrex.ClaimRequest{Key: key("app/db"), Holder: "ann", TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}

	f.members[0].config.Notify.LeaseHolders = "sqlite"
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
		t.Errorf("the reload returns %v, want invalid, and the key", err)
	}
	f.answers(0)
}

// A reload that fails leaves the listener in place, reports every problem, and has an
// exit code; after SIGHUP the log has the report.
func TestReloadThatFailsChangesNothing(t *testing.T) {
	f := newFleet(t, 1, nil)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := &f.members[0].config
	right := *c
	c.API.Listen = taken.Addr().String()
	c.Logging.Config = "<root>=LOUD"
	f.write(f.members[0])
	cmd, said := f.run(0, "agent", "reload")
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("agent reload ended with %v", err)
	}
	for _, want := range []string{"api.listen: listen tcp " + c.API.Listen, "address already in use", "logging.config"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("there is no %q in %s", want, said)
		}
	}
	f.signal(0, syscall.SIGHUP)
	f.logged(0, `"level":"ERROR","module":"interrex.agent","message":"invalid: cannot reload; the current configuration stays in force: logging.config`)
	fetch(t, http.DefaultClient, "http://"+right.API.Listen+"/livez")
	if starts := f.worker(0, manifolds.DefaultPrefix+"api-listener").GetStarts(); starts != 1 {
		t.Errorf("the listener was started %d times", starts)
	}
}

// A worker that keeps failing says why while it waits for its next start.
func TestReportKeepsWhyAWorkerFailed(t *testing.T) {
	f := newFleet(t, 1, nil)
	c := &f.members[0].config
	if err := os.Mkdir(filepath.Join(c.Agent.DataDir, "lease-holders.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Notify.LeaseHolders = "sqlite"
	f.write(f.members[0])
	if _, err := f.client(0).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.shows(0, manifolds.DefaultPrefix+"projection", "starting", "cannot open the lease holders")
	line := regexp.MustCompile(`projection +starting.*cannot open the lease holders.*; failed [0-9]+ times, next start in`)
	eventually(t, "the report says when it is started next", func() error {
		cmd, said := f.run(0, "agent", "report")
		if err := cmd.Wait(); err != nil || !line.MatchString(said.String()) {
			return fmt.Errorf("%w: %s", err, said)
		}
		return nil
	})
}

// worker returns what the report of member i says about a worker.
func (f *fleet) worker(i int, name string) *interrexv1.Worker {
	f.t.Helper()
	name = strings.TrimPrefix(name, manifolds.DefaultPrefix)
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
