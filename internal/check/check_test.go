package check

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/datadir"
)

// subject is an agent with its configuration.
type subject struct {
	ID, DataDir string
	API         config.API
	Cluster     config.Cluster
	Notify      config.Notify
	Backup      config.Backup
	Postgres    func(string) (*sql.DB, error)
}

// Check examines it.
func (s subject) Check(ctx context.Context) (warnings []string, err error) {
	c := config.Config{Agent: config.Agent{ID: s.ID, DataDir: s.DataDir}, API: s.API, Cluster: s.Cluster, Notify: s.Notify, Backup: s.Backup}
	return Agent{Postgres: s.Postgres}.All(ctx, c.WithDefaults())
}

// certified is the configuration of an agent "a", of a new CA's.
func certified(t *testing.T, ca *certificates.CA, id string) config.TLSFiles {
	t.Helper()
	files, err := ca.Write(t.TempDir(), id)
	if err != nil {
		t.Fatal(err)
	}
	return config.TLSFiles{CA: files.CA, Cert: files.Cert, Key: files.Key}
}

func TestACheckOpensWhatTheFileNames(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	mine, others, stranger := certified(t, ca, "a"), certified(t, ca, "b"), certified(t, strangers, "a")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("postgres://x"), 0o644); err != nil {
		t.Fatal(err)
	}
	ofB := private(t)
	if err := datadir.SaveIdentity(ofB, datadir.Identity{ID: "b", Incarnation: "00"}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change  func(*subject)
		why     string // empty: nothing is wrong
		warning string
	}{
		"nothing":                 {func(*subject) {}, "", ""},
		"a directory to be made":  {func(c *subject) { c.DataDir = filepath.Join(t.TempDir(), "a", "b") }, "", ""},
		"a file as directory":     {func(c *subject) { c.DataDir = file }, "agent.data-dir: " + file + " is not a directory", ""},
		"no room for directories": {func(c *subject) { c.DataDir = "/proc/nope/d" }, "agent.data-dir: /proc/nope/d cannot be made: ", ""},
		"another's directory":     {func(c *subject) { c.DataDir = ofB }, "agent.data-dir: cannot use data directory", ""},
		"a certificate of another": {func(c *subject) {
			c.Cluster.TLS.Cert, c.Cluster.TLS.Key = others.Cert, others.Key
		}, "it is for b, and this agent is a", ""},
		"a key of another": {func(c *subject) { c.Cluster.TLS.Key = others.Key }, "private key does not match", ""},
		"another's CA":     {func(c *subject) { c.Cluster.TLS.CA = stranger.CA }, "it must be issued by the CA", ""},
		"no CA":            {func(c *subject) { c.Cluster.TLS.CA = "/nosuch" }, "cluster.tls.ca: open /nosuch", ""},
		"no API key": {func(c *subject) {
			c.API.TLS = config.APITLS{Cert: mine.Cert, Key: "/nosuch"}
		}, "api.tls.key: open /nosuch", ""},
		"a CA of callers that is none": {func(c *subject) {
			c.API.TLS = config.APITLS{Cert: mine.Cert, Key: mine.Key, ClientCA: file}
		}, "has no certificate in PEM", ""},
		"a port that is taken":         {func(c *subject) { c.API.Listen = taken.Addr().String() }, "api.listen: listen tcp", ""},
		"a cluster port that is taken": {func(c *subject) { c.Cluster.Listen = taken.Addr().String() }, "cluster.listen: listen tcp", ""},
		"a socket in no directory":     {func(c *subject) { c.API.Socket = "/nosuch/s" }, "api.socket: stat /nosuch", ""},
		"no directory for copies":      {func(c *subject) { c.Backup.To = "/nosuch" }, "backup.to: /nosuch does not exist", ""},
		"copies in the data directory": {func(c *subject) { c.Backup.To = c.DataDir }, "is in the data directory", ""},
		"no database URL":              {func(c *subject) { c.Notify.LeaseHolders = "/nosuch" }, "notify.lease-holders: cannot read", ""},
		"a database that is not there": {func(c *subject) { c.Notify.LeaseHolders = file }, "notify.lease-holders: " + file + ": no such database", "notify.lease-holders: others can read"},
	} {
		a := subject{
			ID: "a", DataDir: private(t), API: config.API{Listen: "127.0.0.1:0"},
			Cluster:  config.Cluster{Listen: "127.0.0.1:0", TLS: mine},
			Notify:   config.Notify{LeaseHolders: "off"},
			Postgres: func(string) (*sql.DB, error) { return nil, errors.New("no such\ndatabase") },
		}
		c.change(&a)
		warnings, err := a.Check(t.Context())
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) || err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", what, err, c.why)
		}
		if got := strings.Join(warnings, "\n"); (got == "") != (c.warning == "") || !strings.Contains(got, c.warning) {
			t.Errorf("%s: it is warned of %q, want %q", what, got, c.warning)
		}
		if entries, _ := os.ReadDir(a.DataDir); len(entries) > 0 && a.DataDir != ofB {
			t.Errorf("%s: the check left %v", what, entries)
		}
	}
}

func TestACheckDoesNotWaitForANamedPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cert, key := issue(t, time.Now().Add(1000*time.Hour))
	for what, change := range map[string]func(*subject){
		"api.tls.cert":         func(c *subject) { c.API.TLS = config.APITLS{Cert: pipe, Key: key} },
		"api.tls.key":          func(c *subject) { c.API.TLS = config.APITLS{Cert: cert, Key: pipe} },
		"api.tls.client-ca":    func(c *subject) { c.API.TLS = config.APITLS{Cert: cert, Key: key, ClientCA: pipe} },
		"cluster.tls.ca":       func(c *subject) { c.Cluster.TLS = config.TLSFiles{CA: pipe, Cert: cert, Key: key} },
		"notify.lease-holders": func(c *subject) { c.Notify.LeaseHolders = pipe },
	} {
		a := subject{
			ID: "a", DataDir: private(t), API: config.API{Listen: "127.0.0.1:0"}, Notify: config.Notify{LeaseHolders: "off"},
			Postgres: func(string) (*sql.DB, error) { return nil, errors.New("no database") },
		}
		change(&a)
		checked := make(chan error, 1)
		go func() {
			_, err := a.Check(context.Background())
			checked <- err
		}()
		select {
		case err := <-checked:
			if err == nil || !strings.Contains(err.Error(), what+": ") || !strings.Contains(err.Error(), pipe+" is not a regular file") {
				t.Errorf("%s: got %v", what, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: the check hangs", what)
		}
	}
}

// private makes a directory that nobody else can look into.
func private(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "private")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestADirectoryThatOthersCanLookIntoIsWarnedOf(t *testing.T) {
	a := subject{ID: "a", DataDir: private(t), API: config.API{Listen: "127.0.0.1:0"}, Notify: config.Notify{LeaseHolders: "off"}}
	if err := os.Chmod(a.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if warnings, err := a.Check(t.Context()); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "chmod 700 "+a.DataDir) {
		t.Errorf("got %q, %v", warnings, err)
	}
}

func TestPortsAreNotTriedWhereAnAgentAnswers(t *testing.T) {
	a := subject{ID: "a", DataDir: private(t), Notify: config.Notify{LeaseHolders: "off"}}
	agent, err := net.Listen("unix", filepath.Join(a.DataDir, "interrex.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	a.API.Listen = taken.Addr().String()
	if warnings, err := a.Check(t.Context()); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "not tried, because an agent is running") {
		t.Errorf("got %q, %v", warnings, err)
	}
}

func TestAKeyThatOthersCanReadIsWarnedOf(t *testing.T) {
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	a := subject{ID: "a", DataDir: private(t), Cluster: config.Cluster{Listen: "127.0.0.1:0", TLS: certified(t, ca, "a")}}
	if err := os.Chmod(a.Cluster.TLS.Key, 0o644); err != nil {
		t.Fatal(err)
	}
	warnings, err := a.Check(t.Context())
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "chmod 600 "+a.Cluster.TLS.Key) {
		t.Errorf("got %q, %v", warnings, err)
	}
}

// issue writes a certificate that signs itself, with its key.
func issue(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a"}, NotBefore: end.Add(-24 * time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestACertificateThatHasEndedIsRefusedAndOneThatEndsSoonWarnedOf(t *testing.T) {
	for _, c := range []struct {
		end          time.Duration
		why, warning string
	}{{-time.Hour, "api.tls.cert: ", ""}, {49 * time.Hour, "", "expires in 2 days"}, {1000 * time.Hour, "", ""}} {
		cert, key := issue(t, time.Now().Add(c.end))
		a := subject{ID: "a", DataDir: private(t), API: config.API{Listen: "127.0.0.1:0", TLS: config.APITLS{Cert: cert, Key: key}}}
		warnings, err := a.Check(t.Context())
		if (err == nil) != (c.why == "") || err != nil && !strings.Contains(err.Error(), c.why) {
			t.Errorf("it ends in %s: %v", c.end, err)
		}
		if got := strings.Join(warnings, "\n"); (got == "") != (c.warning == "") || !strings.Contains(got, c.warning) {
			t.Errorf("it ends in %s, and it is warned of %q", c.end, got)
		}
	}
}
