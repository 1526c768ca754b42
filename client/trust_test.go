package client

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/authority"
)

// A damaged file must not end the trust in the cluster's own CA, nor extend it to others.
func TestATrustedCAStaysWhileItsFileIsNotValid(t *testing.T) {
	ca, err := authority.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, authority.CertName)
	trusted, err := TLSFiles{CA: path}.load()
	if err != nil {
		t.Fatal(err)
	}
	first, _ := trusted.current()
	if again, _ := trusted.current(); first == nil || again != first {
		t.Errorf("a file that has not changed is read again: %v", again)
	}
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if now, _ := trusted.current(); now != first {
		t.Errorf("with a damaged file: %v", now)
	}
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	if now, _ := trusted.current(); now == first || now == nil {
		t.Errorf("a file that was mended is not read: %v", now)
	}
	if err := verify(nil, first, "n1"); err == nil {
		t.Error("an agent without a certificate is trusted")
	}
}

// Who can open a socket is the operator: a token is for ports.
func TestATokenIsNotSentOverASocket(t *testing.T) {
	for what, c := range map[string]struct {
		address string
		config  Config
		sends   bool
	}{
		"a socket":                  {"unix:///run/x.sock", Config{Token: "x"}, false},
		"a port":                    {"http://x:1", Config{Token: "x"}, true},
		"a port, with a file":       {"http://x:1", Config{TokenFile: "x"}, true},
		"a port, without any token": {"http://x:1", Config{}, false},
	} {
		a, err := parseAddress(c.address)
		if err != nil {
			t.Fatal(err)
		}
		h := a.client(&trust{}, c.config, 0)
		if _, sends := h.Transport.(*bearer); sends != c.sends {
			t.Errorf("%s: a token is sent: %v", what, sends)
		}
		h.CloseIdleConnections()
	}
}
