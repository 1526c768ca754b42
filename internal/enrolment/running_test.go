package enrolment

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/joining"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// joinable serves the member of a cluster from which n1 was removed, and returns its
// address and a token.
func joinable(t *testing.T) (string, jointoken.Token) {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	token, table := jointoken.New(ca.Pin()), member.New()
	apply := func(c state.Command) error {
		decoded, err := table.Decode(c.Append(nil))
		if err == nil {
			err = table.Check(0, decoded)
		}
		if err == nil {
			table.Apply(&state.Turn{Revision: 1, Wall: time.Unix(1, 0), Table: state.MemberTable}, decoded)
		}
		return err
	}
	err = errors.Join(
		apply(&member.SetCA{Cert: string(ca.Cert())}),
		apply(&member.CreateJoinToken{Key: string(token.PublicKey()), Uses: 1, TTL: time.Hour}),
		apply(&member.See{ID: "n1", Incarnation: "old"}), apply(&member.Remove{ID: "n1"}),
	)
	if err != nil {
		t.Fatal(err)
	}
	key, raw, err := authority.NewRequest("m1", nil)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue(request, "m1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: joining.NewHandler(joining.HandlerConfig{
			Table: table, Now: func() state.Time { return 0 }, Wall: time.Now, Logger: silent.Logger{},
			Admit:     func(_ context.Context, c *member.Admit) ([][]byte, error) { return table.Trusted(), apply(c) },
			Authority: func([]byte) (*authority.Authority, error) { return ca, nil },
			ClusterID: func() string { return "the cluster" }, Epoch: func() interrex.Epoch { return interrex.Epoch{Number: 1} },
			Voters: func() []string { return nil }, Members: func() []string { return nil },
			Session: func(ctx context.Context) *tls.ConnectionState {
				session := ctx.Value(sessionKey{}).(*tls.Conn).ConnectionState()
				return &session
			},
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, sessionKey{}, c.(plainly).session)
		},
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		_ = server.Serve(shaking{plain, &tls.Config{
			MinVersion: tls.VersionTLS13, NextProtos: []string{joining.Protocol},
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert, ca.Cert()}, PrivateKey: key}},
		}})
	})
	t.Cleanup(func() {
		_ = server.Close()
		serving.Wait()
	})
	return plain.Addr().String(), token
}

type sessionKey struct{}

// shaking does the handshakes, and hides from net/http that its connections are TLS: it
// would speak only what ALPN names.
type shaking struct {
	net.Listener
	config *tls.Config
}

type plainly struct {
	net.Conn
	session *tls.Conn
}

func (l shaking) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	session := tls.Server(raw, l.config)
	return plainly{session, session}, session.Handshake()
}

// While the agent runs, what it has stays where it is, though the cluster does not count
// on it any more.
func TestNothingIsSetAsideWhileTheAgentRuns(t *testing.T) {
	address, token := joinable(t)
	dir := t.TempDir()
	is := datadir.Identity{ID: "n1", Incarnation: "old", ClusterID: "the cluster", Epoch: interrex.Epoch{Number: 1}}
	raft := filepath.Join(dir, datadir.RaftDir)
	err := errors.Join(datadir.SaveIdentity(dir, is), os.Mkdir(raft, 0o700), os.WriteFile(filepath.Join(raft, "log"), []byte("a log"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := disk.LockDir(dir, "the agent")
	if err != nil {
		t.Fatal(err)
	}
	c := JoinConfig{Agent: agentIn(dir), Addresses: []string{address}, Token: token, Clock: clock.WallClock, Logger: silent.Logger{}}
	if _, err := Join(t.Context(), c); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("while the agent runs: %v", err)
	}
	if now, err := datadir.OpenIdentity(dir, "n1"); err != nil || now.Incarnation != "old" || now.ClusterID == "" {
		t.Errorf("the running agent's identity is %+v (%v)", now, err)
	}
	if _, err := os.Stat(filepath.Join(dir, authority.AgentCertName)); err == nil {
		t.Error("the running agent's certificate was replaced by another agent's")
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), c); err != nil {
		t.Errorf("once it is stopped: %v", err)
	}
	if now, err := datadir.OpenIdentity(dir, "n1"); err != nil || now.Incarnation == "old" || now.Joins == "" {
		t.Errorf("the identity is %+v (%v)", now, err)
	}
}

// A cluster that admits an agent whose directory cannot be written has used up a token.
func TestNobodyIsAskedForAnAgentThatRuns(t *testing.T) {
	address, token := joinable(t)
	dir := t.TempDir()
	lock, err := disk.LockDir(dir, "the agent")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Unlock() }()
	c := JoinConfig{Agent: agentIn(dir), Addresses: []string{address}, Token: token, Clock: clock.WallClock, Logger: silent.Logger{}}
	c.Agent.ID = "n2"
	if _, err := Join(t.Context(), c); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("while it runs: %v", err)
	}
	c.Agent.ID, c.Agent.DataDir = "n3", t.TempDir()
	if _, err := Join(t.Context(), c); err != nil { // the token admits one
		t.Errorf("another agent: %v", err)
	}
}
