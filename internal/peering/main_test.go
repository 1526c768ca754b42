package peering

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/juju/clock"
	"go.uber.org/goleak"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/silent"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notes is a Logger that records its lines.
type notes struct {
	silent.Logger
	mu    sync.Mutex
	lines []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf(format, args...))
}

func (n *notes) Warningf(format string, args ...any) { n.add(format, args...) }

func (n *notes) has(part string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Contains(strings.Join(n.lines, "\n"), part)
}

func (n *notes) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.lines)
}

// world is an authority and the agents that it has certified.
type world struct {
	*testing.T
	ca *certificates.CA
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, ca}
}

// agent starts a transport on loopback and stops it with the test.
func (w *world) agent(id string, change ...func(*Config)) (*Transport, *notes) {
	w.Helper()
	log := &notes{}
	config := w.config(id, log)
	for _, c := range change {
		c(&config)
	}
	t, err := New(config)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { stop(w.T, t) })
	return t, log
}

func (w *world) config(id string, log interrex.Logger) Config {
	given, err := w.ca.TLS(id)
	if err != nil {
		w.Fatal(err)
	}
	return Config{
		ID: id, TLS: given, Listen: "127.0.0.1:0", Clock: clock.WallClock, Logger: log,
		Hello: func() Hello { return Hello{Incarnation: id + "-1", APIAddress: ":7400"} },
	}
}

// with replaces an agent's certificate by one made from a changed template.
func (w *world) with(id string, change func(*x509.Certificate)) func(*Config) {
	return func(c *Config) {
		given, err := w.ca.TLS(id, change)
		if err != nil {
			w.Fatal(err)
		}
		c.TLS = given
	}
}

func stop(t *testing.T, tr *Transport) {
	tr.Kill()
	if err := tr.Wait(); err != nil {
		t.Errorf("transport %s stopped with: %v", tr.ID(), err)
	}
}

func joining(peers ...*Transport) func(*Config) {
	return func(c *Config) {
		for _, p := range peers {
			c.Join = append(c.Join, p.ListenAddr())
		}
	}
}

// eventually waits for what another goroutine brings about, with no bound on
// how it does so but time.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func rawDial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
