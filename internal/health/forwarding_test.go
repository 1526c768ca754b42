package health

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peering"
	"github.com/interrex/interrex/internal/silent"
)

// nobody is reached by it.
type nobody struct{}

func (nobody) DialContext(context.Context, string, string) (net.Conn, error) {
	return nil, errors.New("nobody there")
}

func TestAnAgentWithoutRaftSaysThatItReachesNoMember(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	given, err := ca.TLS("f1")
	if err != nil {
		t.Fatal(err)
	}
	g := forward.NewGateway(forward.GatewayConfig{
		TLS: given, Dialer: nobody{}, Join: func() []string { return []string{"10.0.0.1:7401"} }, Lead: func(interrex.Leadership) {},
		Token: func() (string, error) { return "", nil }, Clock: clock.WallClock, Logger: silent.Logger{},
	})
	defer func() { g.Kill(); _ = g.Wait() }()
	a := newAgent(t)
	a.view.Forwards, a.view.Gateway, a.view.Raft = true, g, nil
	eventually(t, "it does not say so", func() bool {
		found := a.find("forward-down")
		return len(found) == 1 && strings.Contains(found[0].Text, "10.0.0.1:7401: nobody there") && time.Since(found[0].Since) < time.Minute
	})
	status := a.health.Status()
	if status.State != interrex.Forwarding || !strings.Contains(status.Quorum, "forwards nothing") {
		t.Errorf("the status is %s, %s", status.State, status.Quorum)
	}
	if checks := a.health.Ready(); len(checks) != 2 || checks[0].Err == nil {
		t.Errorf("it is ready: %v", checks)
	}
	for _, other := range []string{"raft-down", "api-open", "quorum-lost"} {
		if found := a.find(other); len(found) > 0 {
			t.Errorf("%s: %v", other, found)
		}
	}
}

// withForwarder is rotated, and f1 was admitted to run without raft.
func withForwarder(t *testing.T, phase member.Phase) *member.Table {
	t.Helper()
	table := rotated(t, 0)
	key, csr, err := authority.NewRequest("f1", nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	token := jointoken.New(jointoken.PinOfDER([]byte(table.CA())))
	sum := sha256.Sum256(csr)
	applied(t, table, &member.CreateJoinToken{Key: string(token.PublicKey()), Uses: 1, TTL: time.Hour})
	applied(t, table, &member.Admit{
		ID: "f1", Token: token.ID(), Key: string(public), Session: string(make([]byte, 32)), Request: string(sum[:]),
		Signature: string(token.Sign(jointoken.Session{}, csr)), Forwards: true,
	})
	rotateTo(t, table, phase)
	return table
}

func TestTheRotationWaitsForAgentsWithoutRaft(t *testing.T) {
	a := newAgent(t)
	a.view.ID, a.view.Admitted, a.view.Forwarders = "n1", withForwarder(t, member.Dropping), new(forward.Book)
	now := a.view.Authority()
	says := func(ago time.Duration, trusts ...string) string {
		a.view.Forwarders.Note("f1", forward.Said{Whereabouts: forward.Whereabouts{Trusts: trusts}, At: time.Now().Add(-ago)})
		return a.health.RotationWaiting()["f1"]
	}
	if why := a.health.RotationWaiting()["f1"]; !strings.Contains(why, "it has not been met") {
		t.Errorf("before it was met: %q", why)
	}
	if why := says(0, now.CA, now.Former[0]); why != "it still trusts the former CA" {
		t.Errorf("while it runs: %q", why)
	}
	if why := says(time.Hour, now.CA, now.Former[0]); !strings.Contains(why, "nothing heard from it for 1 h") {
		t.Errorf("while it is off: %q", why)
	}
	if why := says(0, now.CA); why != "" {
		t.Errorf("when it is done: %q", why)
	}
}

func TestAnAgentWithoutRaftSaysThatItsMembersKnowNoLeader(t *testing.T) {
	a := newAgent(t)
	a.view.Forwards = true
	if found := a.find("quorum-lost"); len(found) != 0 {
		t.Errorf("without a gateway: %v", found)
	}
	a.view.Gateway = leaderless(t)
	eventually(t, "it does not say so", func() bool {
		found := a.find("quorum-lost")
		return len(found) == 1 && strings.Contains(found[0].Text, "requests are forwarded to a, which knows of no leader") && time.Since(found[0].Since) < time.Minute
	})
}

// leaderless returns a gateway whose member knows no leader.
func leaderless(t *testing.T) *forward.Gateway {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	given, err := ca.TLS("f1")
	if err != nil {
		t.Fatal(err)
	}
	config, err := certificates.Server(given, peering.ForwardProtocol)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	member := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(forward.Members{ID: "a", ClusterID: "c", Term: 7})
	})}
	go func() { _ = member.Serve(hidden{tls.NewListener(l, config)}) }()
	g := forward.NewGateway(forward.GatewayConfig{
		TLS: given, Join: func() []string { return []string{l.Addr().String()} }, Lead: func(interrex.Leadership) {},
		Token: func() (string, error) { return "", nil }, Note: func(forward.Cluster) error { return nil }, Clock: clock.WallClock, Logger: silent.Logger{},
	})
	t.Cleanup(func() {
		g.Kill()
		_ = errors.Join(g.Wait(), member.Close())
	})
	return g
}

// hidden hides from net/http that its connections are TLS: it would speak only what ALPN
// names.
type hidden struct{ net.Listener }

func (l hidden) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}
