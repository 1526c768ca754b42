package check

import (
	"crypto/tls"
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/certificates"
)

func TestWhereASocketCanBe(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, socket := filepath.Join(dir, "file"), filepath.Join(dir, "socket")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, ok := range map[string]bool{
		filepath.Join(dir, "none"): true, socket: true, file: false,
		"/" + strings.Repeat("x", maxSocketPath-1): true, "/" + strings.Repeat("x", maxSocketPath): false,
	} {
		if err := SocketFile(path); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
	if !Answers(socket) || Answers(filepath.Join(dir, "none")) || Answers(filepath.Join(file, "none")) {
		t.Error("only the socket answers")
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	if Answers(socket) {
		t.Error("one that nobody listens on answers")
	}
}

func TestWhatADatabaseOfHoldersNeeds(t *testing.T) {
	open := func(string) (*sql.DB, error) { return nil, errors.New("no database") }
	for _, c := range []struct {
		agent   Agent
		holders string
		dir     string
		ok      bool
	}{
		{Agent{}, "off", "", true},
		{Agent{SQLite: open}, "sqlite", "/data", true},
		{Agent{}, "sqlite", "/data", false},
		{Agent{SQLite: open}, "sqlite", "", false},
		{Agent{Postgres: open}, "/url", "", true},
		{Agent{SQLite: open}, "/url", "", false},
		{Agent{Postgres: open}, "postgres://ann:secret@a/b", "", false},
	} {
		err := c.agent.Notify(config.Config{Agent: config.Agent{DataDir: c.dir}, Notify: config.Notify{LeaseHolders: c.holders}})
		if (err == nil) != c.ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAURLWhosePasswordIsNotCertainIsRefused(t *testing.T) {
	for url, ok := range map[string]bool{
		"postgres://ann:secret@a/b": true, "postgresql://a/b": true, "postgres://a": true,
		"postgres://ann:se@cret@a/b": false, "postgres://ann:se/cret@a/b": false, "mysql://a/b": false, "secret": false, "": false,
	} {
		if isPostgresURL(url) != ok {
			t.Errorf("%q is taken: %v", url, !ok)
		}
	}
}

func TestAnAgentsIDStaysThatOfItsDirectory(t *testing.T) {
	dir := t.TempDir()
	if id := ID("one", dir); id != "one" {
		t.Errorf("the configured one becomes %q", id)
	}
	if id := ID("", dir); certificates.CheckID(id) != nil {
		t.Errorf("a new directory gets %q", id)
	}
	if err := os.WriteFile(filepath.Join(dir, "identity.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if id := ID("", dir); id != "" {
		t.Errorf("a directory with an ID gets %q", id)
	}
}

func TestTheAPIsTLSRequestsCertificatesOnlyForItsCA(t *testing.T) {
	cert, key := issue(t, time.Now().Add(time.Hour))
	for ca, want := range map[string]tls.ClientAuthType{"": tls.NoClientCert, cert: tls.RequestClientCert} {
		files, c, err := APITLS(config.APITLS{Cert: cert, Key: key, ClientCA: ca})
		if err != nil || files == nil || c.ClientAuth != want || c.MinVersion < tls.VersionTLS12 || (files.Callers() != nil) != (ca != "") {
			t.Errorf("CA %q: %+v, %v", ca, c, err)
		}
	}
	if files, c, err := APITLS(config.APITLS{}); files != nil || c != nil || err != nil {
		t.Errorf("without a certificate: %v, %v", c, err)
	}
}

func TestOnlyADeadSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := FreeSocket(path); err != nil {
		t.Errorf("nothing is there: %v", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := FreeSocket(path); err == nil || !strings.Contains(err.Error(), "another process listens there: set api.socket") {
		t.Errorf("a living socket: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = l.Close()
	if err := FreeSocket(path); err != nil {
		t.Errorf("a dead one of this user: %v", err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if err := FreeSocket(path); err == nil || !strings.Contains(err.Error(), "of another user") {
			t.Errorf("a dead one of another user: %v", err)
		}
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := FreeSocket(path); err == nil {
		t.Error("a file is taken for a socket")
	}
}
