package peering

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/pipe"
)

func TestAgentsMeetAndTellEachOtherWhereTheyAre(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", joining(a))
	c, _ := w.agent("c", joining(b)) // learns of a only from b
	for _, tr := range []*Transport{a, b, c} {
		eventually(t, tr.ID()+" has met both others", func() bool { return len(tr.Peers()) == 2 })
	}
	if got, want := c.Address("a"), a.ListenAddr(); got != want {
		t.Errorf("c knows a at %q, want %q", got, want)
	}
	if got, want := c.APIAddress("c"), c.Self().APIAddress; got != want || want == "" {
		t.Errorf("c's own API address is %q, and it says %q", got, want)
	}
	if got := a.APIAddress("c"); got != "127.0.0.1:7400" {
		t.Errorf("an API address without a host was completed to %q", got)
	}
	for _, tr := range []*Transport{a, b, c} {
		eventually(t, tr.ID()+" knows that all have met all", func() bool {
			all := append(tr.Peers(), tr.Self())
			return len(all) == 3 && !slices.ContainsFunc(all, func(h Hello) bool { return len(h.Met) != 2 })
		})
	}
}

func TestAnAgentIsReachedWhereItAdvertises(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	b, _ := w.agent("b", func(c *Config) { c.Advertise = "b.example.org:7401" })
	for tr, want := range map[*Transport]string{a: a.ListenAddr(), b: "b.example.org:7401"} {
		if own, said := tr.Address(tr.ID()), tr.Self().ClusterAddress; own != want || said != want {
			t.Errorf("%s is at %q, and says %q, want %q", tr.ID(), own, said, want)
		}
	}
}

func TestWhatIsAnnouncedIsToldSoonAndAtALimitedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &Transport{ctx: t.Context(), wake: make(chan struct{}, 1), config: Config{Clock: clock.WallClock}}
		round := func() time.Duration {
			began := time.Now()
			tr.Announce()
			tr.Announce() // it does not block
			if news, alive := tr.pauseOrNews(time.Hour); !news || !alive {
				t.Fatalf("news %v, alive %v", news, alive)
			}
			return time.Since(began)
		}
		for i := range newsBurst {
			if waited := round(); waited != meetFirst {
				t.Fatalf("round %d waited for %s", i, waited)
			}
		}
		began := time.Now()
		for range 100 {
			round()
		}
		if took := time.Since(began); took < 99*newsEvery {
			t.Errorf("100 more rounds took %s", took)
		}
		time.Sleep(newsBurst * newsEvery)
		if waited := round(); waited != meetFirst {
			t.Errorf("after a time without news a round waited for %s", waited)
		}
	})
}

func TestAgentMayListItselfAmongThoseToJoin(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	a, log := w.agent("a", func(c *Config) {
		c.Listener = listener
		c.Join = []string{fmt.Sprintf("localhost:%d", port)}
	})
	if err := a.Meet(t.Context()); err != nil {
		t.Errorf("meeting itself failed: %v", err)
	}
	if len(a.Peers()) != 0 || log.count() != 0 {
		t.Errorf("it took itself for a peer: %v %v", a.Peers(), log.lines)
	}
}

func TestPeerThatMovedIsFoundUnderItsID(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	first, err := New(w.joined("b", a))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a has met b", func() bool { return a.Address("b") != "" })
	stop(t, first)

	b, _ := w.agent("b", joining(a))
	eventually(t, "a knows b's new address", func() bool { return a.Address("b") == b.ListenAddr() })
	if _, err := b.Listener(); err != nil {
		t.Fatal(err)
	}
	go accept(b)
	conn, err := a.DialAPI(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func accept(b *Transport) {
	if c, err := b.api.Accept(); err == nil {
		_ = c.Close()
	}
}

func (w *world) joined(id string, peers ...*Transport) Config {
	config := w.config(id, &notes{})
	joining(peers...)(&config)
	return config
}

func TestRequestsAreForwardedOverOneListener(t *testing.T) {
	w := newWorld(t)
	b, _ := w.agent("b")
	a, _ := w.agent("a", func(c *Config) { c.Peers = map[string]string{"b": b.ListenAddr()} })
	listener, err := b.Listener()
	if err != nil {
		t.Fatal(err)
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Protocols: &protocols,
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(rw, "to "+b.ID()+" over "+r.Proto)
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	tr := &http.Transport{
		Protocols: &protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return a.DialAPI(ctx, "b")
		},
	}
	defer tr.CloseIdleConnections()
	answer, err := (&http.Client{Transport: tr}).Get("http://b/")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if string(body) != "to b over HTTP/2.0" {
		t.Errorf("got %q", body)
	}
	_ = server.Close()
	<-served

	if _, err := b.Listener(); err != nil {
		t.Errorf("the next listener was refused after the first was closed: %v", err)
	}
	if _, err := b.Listener(); err == nil {
		t.Error("two listeners live at once")
	}
}

func TestStopCutsWhatIsHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, port := newWorld(t), pipe.Listen()
		a, _ := w.agent("a", func(c *Config) { c.Listener = port })
		for range 20 {
			c, err := port.Dial(t.Context(), "", "") // says nothing
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
		}
		synctest.Wait()
		if n := a.limits.Open(); n != 20 {
			t.Fatalf("%d connections are counted", n)
		}
		began := time.Now()
		stop(t, a)
		if took := time.Since(began); took != 0 {
			t.Errorf("stopping took %s", took)
		}
		if n := a.limits.Open(); n != 0 {
			t.Errorf("%d connections are still counted", n)
		}
	})
}

func TestWhoSaysNothingIsCutOff(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a")
	for when, c := range map[string]net.Conn{
		"before TLS": rawDial(t, a.ListenAddr()), "before its hello": w.talk(a, []string{protocolHello}, w.cert("b")),
	} {
		_ = c.SetReadDeadline(time.Now().Add(6 * handshakeTimeout))
		_, err := c.Read(make([]byte, 1))
		var timeout net.Error
		if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("who says nothing %s: %v", when, err)
		}
	}
}

// What differs each time, such as a port, would be a new reason in the log.
func TestASlowHandshakeIsOneReason(t *testing.T) {
	for _, err := range []error{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded, Addr: &net.TCPAddr{Port: 1}}, context.DeadlineExceeded} {
		if got := explainTLS(err).Error(); got != "its TLS handshake was not complete within 5s" {
			t.Errorf("%v is %q", err, got)
		}
	}
}

func TestWhoSaysNothingIsNotWaitedFor(t *testing.T) {
	if handshakeTimeout != 5*time.Second {
		t.Errorf("a handshake may take %s", handshakeTimeout)
	}
	w := newWorld(t)
	a, _ := w.agent("a")
	config := must(certificates.Server(must(w.ca.TLS("b")), protocolRaft, protocolAPI, protocolHello))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, tls.Server(c, config))
			}()
		}
	}()
	done := make(chan error, 1)
	go func() {
		_, _, err := a.dialAt(t.Context(), silent.Addr().String(), "b", protocolHello)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it has met nobody")
		}
	case <-time.After(6 * handshakeTimeout):
		t.Error("it still waits")
	}
}

// deadlined keeps the last deadline that a connection was given.
type deadlined struct {
	net.Conn
	until *atomic.Pointer[time.Time]
}

func (d deadlined) SetDeadline(at time.Time) error {
	d.until.Store(&at)
	return d.Conn.SetDeadline(at)
}

type deadlining struct{ net.Listener }

func (l deadlining) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return deadlined{c, new(atomic.Pointer[time.Time])}, nil
}

// The time for a handshake is over with it.
func TestAConnectionThatWasLetInHasNoDeadline(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := w.agent("b", func(c *Config) { c.Listen, c.Listener = "", deadlining{listener} })
	a, _ := w.agent("a", func(c *Config) { c.Peers = map[string]string{"b": b.ListenAddr()} })
	in, err := b.Listener()
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := in.Accept()
		accepted <- c
	}()
	conn, err := a.DialAPI(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	theirs := <-accepted
	defer theirs.Close()
	raw := theirs.(*inbound.Held).Conn.Conn.(*tls.Conn).NetConn().(deadlined)
	if at := raw.until.Load(); at == nil || !at.IsZero() {
		t.Errorf("it ends at %v", at)
	}
}

func TestAConnectionToWhoHasStoppedIsClosed(t *testing.T) {
	w := newWorld(t)
	tr, err := New(w.config("a", &notes{}))
	if err != nil {
		t.Fatal(err)
	}
	stop(t, tr)
	ours, theirs := net.Pipe()
	tr.admit(theirs)
	if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("reading gives %v", err)
	}
}

func TestAloneAgentReachesNobodyAndHasARaftTransport(t *testing.T) {
	w := newWorld(t)
	a, _ := w.agent("a", func(c *Config) { c.TLS, c.Listen = nil, "" })
	if err := a.Meet(t.Context()); err != nil {
		t.Error(err)
	}
	if _, _, err := a.dialAt(t.Context(), "127.0.0.1:1", "b", protocolAPI); err != errAlone {
		t.Errorf("dialling gave %v", err)
	}
	r, err := a.Raft(RaftConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.LocalAddr(); got != "a" {
		t.Errorf("raft's address is %q, want the ID", got)
	}
	if err := r.RequestVote("b", "b", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}); err == nil {
		t.Error("it reaches another agent")
	}
	if _, err := a.Raft(RaftConfig{}); err == nil {
		t.Error("two raft transports live at once")
	}
	r.Drain()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*Config){
		"nil Clock":                func(c *Config) { c.Clock = nil },
		"nil Logger":               func(c *Config) { c.Logger = nil },
		"nil Hello":                func(c *Config) { c.Hello = nil },
		"negative Timeout":         func(c *Config) { c.Timeout = -1 },
		`agent ID "A"`:             func(c *Config) { c.ID = "A" },
		`agent ID "localhost"`:     func(c *Config) { c.ID = "localhost" },
		"empty Listen":             func(c *Config) { c.Listen = "" },
		"has no peers":             func(c *Config) { c.TLS = nil },
		"cannot reach":             func(c *Config) { c.Advertise = "0.0.0.0:7401" },
		"give host:port":           func(c *Config) { c.Join = []string{"host"} },
		`port "x"`:                 func(c *Config) { c.Peers = map[string]string{"b": "host:x"} },
		"it is for a, and this is": func(c *Config) { c.ID = "b" },
	} {
		config := w.config("a", &notes{})
		change(&config)
		_, err := New(config)
		if name = strings.Replace(name, "and this is", "and this agent is b", 1); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q in: %v", name, err)
		}
	}
}
