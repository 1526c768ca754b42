package assembly

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/testworker"
	"github.com/interrex/interrex/transport"
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

// answering is a network in which somebody responds, with a certificate of another CA.
type answering struct{ by transport.TLS }

func (a answering) DialContext(context.Context, string, string) (net.Conn, error) {
	config, err := certificates.Server(a.by)
	if err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	go func() {
		_ = tls.Server(there, config).Handshake()
		_ = there.Close()
	}()
	return here, nil
}

func TestARecoveryIsRefusedWhereSomebodyResponds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca, err := certificates.DevCA()
		if err != nil {
			t.Fatal(err)
		}
		other, err := ca.TLS("b2")
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, func(c *AgentConfig) {
			c.Dialer, c.Wanted = answering{other}, func() []string { return []string{"a1"} }
		})
		w.settle(t)
		w.lose(t)
		time.Sleep(time.Minute) // the backstop does not order one
		if runs := w.runs(recoveryName); runs != 1 {
			t.Errorf("a recovery was ordered: %d runs", runs)
		}
		w.recovery.order()
		time.Sleep(time.Minute)
		if epoch := w.State().Identity().Epoch.Number; epoch != 0 || w.recovery.failure() != nil || w.runs(recoveryName) != 2 {
			t.Errorf("epoch %d, %v, %d runs", epoch, w.recovery.failure(), w.runs(recoveryName))
		}
		testworker.Stop(t, w.engine)
	})
}

// spoiling is a network in which nobody responds, and a disk that fails meanwhile.
type spoiling struct{ dir atomic.Pointer[string] }

func (s *spoiling) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if dir := s.dir.Load(); dir != nil {
		path := filepath.Join(*dir, datadir.RaftDir, "snapshots")
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, nil, 0o600)); err != nil {
			return nil, err
		}
	}
	return deserted{}.DialContext(ctx, network, address)
}

// What is on the disk then is for an operator to see.
func TestARecoveryThatHasFailedIsNotTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := new(spoiling)
		w := newWorld(t, func(c *AgentConfig) {
			c.Dialer, c.Wanted = network, func() []string { return []string{"a1"} }
		})
		w.settle(t)
		w.lose(t)
		network.dir.Store(&w.config.Agent.DataDir)
		w.recovery.order()
		time.Sleep(time.Minute)
		if w.recovery.failure() == nil {
			t.Fatal("it has not failed")
		}
		if runs := w.runs(recoveryName); runs != 2 || w.Lives.Worker(w.Name(backstopName)) != nil {
			t.Errorf("%d runs of recoveries, and the backstop runs again", runs)
		}
		testworker.Stop(t, w.engine)
	})
}

func TestWithoutTheFeatureThereIsNoBackstop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *AgentConfig) {
			c.Dialer, c.Wanted, c.Features.Backstop = deserted{}, func() []string { return []string{"a1"} }, config.Off
		})
		time.Sleep(time.Minute)
		if seen, running := w.lookForBackstop(); !running || seen.Leader != "a1" || len(seen.Members.Servers) != 1 {
			t.Errorf("the backstop would see %+v, %v", seen, running)
		}
		w.lose(t)
		time.Sleep(2 * time.Minute)
		if epoch := w.State().Identity().Epoch.Number; epoch != 0 {
			t.Errorf("epoch %d", epoch)
		}
		testworker.Stop(t, w.engine)
		if seen, running := w.lookForBackstop(); running {
			t.Errorf("without raft the backstop would see %+v", seen)
		}
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

// The program says that only this agent is left, and nobody responds: the backstop has
// the cluster recovered.
func TestTheBackstopRecoversWhatTheProgramSaysIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wanted := []string{"a1", "b2"}
		w := newWorld(t, func(c *AgentConfig) {
			c.Dialer, c.Wanted = deserted{}, func() []string { return wanted }
		})
		w.settle(t)
		w.lose(t)
		time.Sleep(2 * time.Minute)
		if epoch := w.State().Identity().Epoch.Number; epoch != 0 {
			t.Fatalf("epoch %d after silence only", epoch)
		}
		wanted = []string{"a1"}
		time.Sleep(time.Minute)
		w.settle(t)
		if epoch := w.State().Identity().Epoch.Number; epoch != 1 {
			t.Errorf("epoch %d", epoch)
		}
		testworker.Stop(t, w.engine)
	})
}

func TestOnlyACommandThatReturnsZeroSaysThatAMachineIsOff(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := isOff(t.Context(), script("off", `[ "$1 $2" = "n2 10.0.0.2:7401" ]`), "n2", "10.0.0.2:7401"); err != nil {
		t.Error(err)
	}
	over, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	for why, c := range map[string]struct {
		ctx     context.Context
		command string
	}{
		"n2 10.0.0.2:7401: exit status 3 it runs":       {t.Context(), script("on", "echo it runs; exit 3")},
		"exit status 1 " + strings.Repeat("x", maxSaid): {t.Context(), script("loud", "head -c 100000 /dev/zero | tr '\\0' x; exit 1")},
		"did not end within 30s":                        {over, script("hangs", "sleep 1000 & sleep 1000")},
		"no such file":                                  {t.Context(), filepath.Join(dir, "none")},
	} {
		err := isOff(c.ctx, c.command, "n2", "10.0.0.2:7401")
		if err == nil || !strings.Contains(err.Error(), why) || len(err.Error()) > 2*maxSaid {
			t.Errorf("got %v, want %q", err, why)
		}
	}
}
