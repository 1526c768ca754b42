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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/joining"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/silent"
	"github.com/interrex/interrex/state"
)

// cluster is one from which n1 was removed, and its member that lets others in.
type cluster struct {
	*testing.T
	ca      *authority.Authority
	table   *member.Table
	address string
}

func (c *cluster) apply(command state.Command) error {
	decoded, err := c.table.Decode(command.Append(nil))
	if err == nil {
		err = c.table.Check(0, decoded)
	}
	if err == nil {
		c.table.Apply(&state.Turn{Revision: 1, Wall: time.Unix(1, 0), Table: machine.MemberTable}, decoded)
	}
	return err
}

// token creates a join token, only for one agent unless that is empty.
func (c *cluster) token(only string) jointoken.Token {
	c.Helper()
	token := jointoken.New(c.ca.Pin())
	if err := c.apply(&member.CreateJoinToken{Key: string(token.PublicKey()), For: only, Uses: 1, TTL: time.Hour}); err != nil {
		c.Fatal(err)
	}
	return token
}

// join is what an agent with a directory joins with.
func (c *cluster) join(dir, id string, token jointoken.Token) JoinConfig {
	j := JoinConfig{Agent: agentIn(dir), Addresses: []string{c.address}, Token: token, Clock: clock.WallClock, Logger: silent.Logger{}}
	j.Agent.ID = id
	return j
}

// joinable makes a cluster. Its member names the address of another one, and an address
// that nobody can dial.
func joinable(t *testing.T) *cluster {
	t.Helper()
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{T: t, ca: ca, table: member.New()}
	err = errors.Join(
		c.apply(&member.SetCA{Cert: string(ca.Cert())}),
		c.apply(&member.See{ID: "n1", Incarnation: "old"}), c.apply(&member.Remove{ID: "n1"}),
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
			Table: c.table, Now: func() state.Time { return 0 }, Wall: time.Now, Logger: silent.Logger{},
			Admit: func(_ context.Context, m *member.Admit) ([][]byte, error) {
				return c.table.Trusted(), c.apply(m)
			},
			Authority: func([]byte) (*authority.Authority, error) { return ca, nil },
			ClusterID: func() string { return "the cluster" }, Epoch: func() interrex.Epoch { return interrex.Epoch{Number: 1} },
			Voters: func() []string { return nil }, Members: func() []string { return []string{"10.0.0.9:7401", "0.0.0.0:0"} },
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
	c.address = plain.Addr().String()
	return c
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
	cluster := joinable(t)
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
	c := cluster.join(dir, "n1", cluster.token(""))
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
	cluster := joinable(t)
	dir := t.TempDir()
	lock, err := disk.LockDir(dir, "the agent")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Unlock() }()
	c := cluster.join(dir, "n2", cluster.token(""))
	if _, err := Join(t.Context(), c); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("while it runs: %v", err)
	}
	c.Agent.ID, c.Agent.DataDir = "n3", t.TempDir()
	if _, err := Join(t.Context(), c); err != nil { // the token admits one
		t.Errorf("another agent: %v", err)
	}
}

// A member comes back with a new certificate, while it runs too.
func TestAMembersDirectoryStaysAsItIsButForItsCertificate(t *testing.T) {
	for _, runs := range []bool{true, false} {
		cluster, dir := joinable(t), t.TempDir()
		is := datadir.Identity{ID: "n2", Incarnation: "disk", ClusterID: "the cluster", Epoch: interrex.Epoch{Number: 1}}
		key, _, err := authority.NewRequest("n2", nil)
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(
			cluster.apply(&member.See{ID: "n2", Incarnation: "disk"}), datadir.SaveIdentity(dir, is),
			authority.SaveKey(dir, key), (&authority.Renewal{Key: key}).Save(dir),
			os.Mkdir(filepath.Join(dir, datadir.RaftDir), 0o700), os.WriteFile(filepath.Join(dir, datadir.RaftDir, "log"), []byte("a log"), 0o600),
		)
		if err != nil {
			t.Fatal(err)
		}
		if runs {
			lock, err := disk.LockDir(dir, "the agent")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = lock.Unlock() }()
		}
		if _, err := Join(t.Context(), cluster.join(dir, "n2", cluster.token("n2"))); err != nil {
			t.Fatalf("runs %v: %v", runs, err)
		}
		if now, err := datadir.OpenIdentity(dir, "n2"); err != nil || now.Incarnation != "disk" || now.Joins != "" || cluster.table.WasRemoved("n2") {
			t.Errorf("runs %v: the identity is %+v (%v)", runs, now, err)
		}
		if left, err := authority.ReadRenewal(dir); !authority.Enrolled(dir) || left != nil || err != nil {
			t.Errorf("runs %v: it has no certificate, or the renewal that was cut is still there (%v)", runs, err)
		}
		if _, err := os.Stat(filepath.Join(dir, ConfigName)); err == nil {
			t.Errorf("runs %v: its configuration was written", runs)
		}
	}
}

func TestAJoinersDirectoryIsComplete(t *testing.T) {
	cluster, dir := joinable(t), t.TempDir()
	c := cluster.join(dir, "f1", cluster.token(""))
	c.Agent.Forwards = true
	if _, err := Join(t.Context(), c); err != nil || !cluster.table.Member("f1").Forwards {
		t.Fatalf("an agent without raft is %+v (%v)", cluster.table.Member("f1"), err)
	}
	lock, err := disk.LockDir(dir, "the agent")
	if err != nil {
		t.Fatalf("the directory is in use still: %v", err)
	}
	defer func() { _ = lock.Unlock() }()
	got, err := config.Source{Path: filepath.Join(dir, ConfigName)}.Load()
	if err != nil {
		t.Fatal(err)
	}
	if got.Raft.Enabled != config.Off || got.Cluster.BootstrapExpect != 0 || !slices.Equal(got.Cluster.Join, []string{cluster.address, "10.0.0.9:7401"}) {
		t.Errorf("the configuration is %+v, %+v", got.Raft, got.Cluster)
	}
}

// A join that was cut while it set aside what was there goes on with that. What an agent
// with a new disk was before is removed.
func TestAnAgentThatLostItsDataJoinsAsWhatItIsNow(t *testing.T) {
	cluster, dir := joinable(t), t.TempDir()
	is := datadir.Identity{ID: "n3", Incarnation: "half", ClusterID: "the cluster", Epoch: interrex.Epoch{Number: 1}}
	err := errors.Join(
		cluster.apply(&member.See{ID: "n3", Incarnation: "half"}), datadir.SaveIdentity(dir, is),
		os.Mkdir(filepath.Join(dir, datadir.AsideName+".unfinished"), 0o700),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Join(t.Context(), cluster.join(dir, "n3", cluster.token("n3"))); err != nil {
		t.Fatal(err)
	}
	now, err := datadir.OpenIdentity(dir, "n3")
	if err != nil || now.ClusterID != "" || now.Joins != "the cluster" || !cluster.table.Removed("n3", "half") {
		t.Errorf("the identity is %+v (%v), and the members are %+v", now, err, cluster.table.Member("n3"))
	}
	if _, err := os.Stat(filepath.Join(dir, datadir.AsideName)); err != nil {
		t.Error(err)
	}
}

// An agent without raft whose certificate is of no use any more gets another, and keeps all
// else, also while it runs.
func TestAnAgentWithoutRaftKeepsItsConfigurationWhenItComesBack(t *testing.T) {
	cluster, dir := joinable(t), t.TempDir()
	c := cluster.join(dir, "f1", cluster.token("f1"))
	c.Agent.Forwards = true
	if _, err := Join(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	file, cert := filepath.Join(dir, ConfigName), filepath.Join(dir, authority.AgentCertName)
	first, err := os.ReadFile(cert)
	text, failed := os.ReadFile(file)
	mine := "# mine\n" + string(text)
	if err = errors.Join(err, failed); err == nil {
		err = os.WriteFile(file, []byte(mine), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	lock, err := disk.LockDir(dir, "the agent")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Unlock() }()
	c.Agent.Forwards = false // its configuration says it
	if joined, err := Join(t.Context(), c); err != nil || !joined.Runs {
		t.Fatalf("%+v, %v", joined, err)
	}
	second, err := os.ReadFile(cert)
	text, failed = os.ReadFile(file)
	if err := errors.Join(err, failed); err != nil || string(second) == string(first) || string(text) != mine {
		t.Errorf("%v: another certificate: %v, the configuration: %q", err, string(second) != string(first), text)
	}
	if !cluster.table.Member("f1").Forwards {
		t.Error("it became a member while it runs")
	}
}

// An agent that comes back keeps what its operator has configured.
func TestAConfigurationIsKept(t *testing.T) {
	cluster, dir := joinable(t), t.TempDir()
	own := OwnFiles(dir)
	path := filepath.Join(dir, ConfigName)
	text := "agent: {id: n1, data-dir: " + dir + "}\n# ours\napi:\n  listen: 127.0.0.1:7500 # not 7400\n" +
		"cluster:\n  listen: 10.0.0.1:7501\n  bootstrap-expect: 1\nraft: {snapshot-threshold: 77}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if id := ConfiguredID(dir); id != "n1" {
		t.Errorf("its ID is %q", id)
	}
	c := cluster.join(dir, "n1", cluster.token(""))
	c.Agent.API, c.Agent.Cluster = "", "10.0.0.1:7601"
	if _, err := Join(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	kept, err := os.ReadFile(path)
	got, failed := config.Source{Path: path}.Load()
	if err := errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	if got.API.Listen != "127.0.0.1:7500" || got.API.TLS.Cert != "" || got.Raft.SnapshotThreshold != 77 || !strings.Contains(string(kept), "# ours") || !strings.Contains(string(kept), "# not 7400") {
		t.Errorf("what is not given has changed:\n%s", kept)
	}
	if got.Cluster.Listen != "10.0.0.1:7601" || got.Cluster.TLS != own || got.Cluster.BootstrapExpect != 0 || !slices.Equal(got.Cluster.Join, []string{cluster.address, "10.0.0.9:7401"}) {
		t.Errorf("what must change has not:\n%s", kept)
	}
	c.Agent.API = "10.0.0.1:7500"
	if _, err := Join(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if got, err := (config.Source{Path: path}).Load(); err != nil || got.API.Listen != "10.0.0.1:7500" || got.API.TLS.Cert != own.Cert {
		t.Errorf("%v: the API that is given is %+v", err, got.API)
	}
}

// The agent's directory may be given by a flag, or be written in another way.
func TestAConfigurationMayNameItsDirectoryInAnyWay(t *testing.T) {
	for _, named := range []func(dir string) string{
		func(string) string { return "api: {listen: 127.0.0.1:7500}\n" },
		func(dir string) string { return "agent: {data-dir: " + dir + "/}\napi: {listen: 127.0.0.1:7500}\n" },
		func(dir string) string {
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			return "agent: {data-dir: " + link + "}\napi: {listen: 127.0.0.1:7500}\n"
		},
	} {
		cluster, dir := joinable(t), t.TempDir()
		path := filepath.Join(dir, ConfigName)
		if err := os.WriteFile(path, []byte(named(dir)), 0o600); err != nil {
			t.Fatal(err)
		}
		c := cluster.join(dir, "n1", cluster.token(""))
		c.Agent.API = ""
		if _, err := Join(t.Context(), c); err != nil {
			t.Error(err)
		}
		if got, err := (config.Source{Path: path}).Load(); err != nil || got.API.Listen != "127.0.0.1:7500" {
			t.Errorf("%v: %+v", err, got.API)
		}
	}
}

func TestAConfigurationThatCannotBeKeptIsReported(t *testing.T) {
	cluster := joinable(t)
	for text, want := range map[string]string{
		"api: {lisen: x}\n": "lisen", "agent: {data-dir: /elsewhere}\n": "/elsewhere",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, ConfigName)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Join(t.Context(), cluster.join(dir, "n1", cluster.token(""))); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "move") {
			t.Errorf("%q: %v", text, err)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%q has become %q (%v)", text, now, err)
		}
	}
}
