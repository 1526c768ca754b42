package client_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/authority"
)

// serverOf returns the address of a server with a certificate of a CA for 127.0.0.1.
func serverOf(t *testing.T, ca *authority.Authority) string {
	t.Helper()
	key, raw, err := authority.NewRequest("n1", []string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	der, err := ca.Issue(request, "n1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// The file of CAs is read again for a new connection, so that a program outlives a
// rotation of the CA.
func TestAClientTakesUpAChangedCAFile(t *testing.T) {
	var cas []*authority.Authority
	for range 2 {
		ca, err := authority.New(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		cas = append(cas, ca)
	}
	dir := t.TempDir()
	if err := cas[0].Save(dir); err != nil {
		t.Fatal(err)
	}
	address := serverOf(t, cas[1])
	dial := func(host string) error {
		c, err := client.Dial(t.Context(), client.Config{
			Addresses: []string{"https://" + strings.Replace(address, "127.0.0.1", host, 1)}, TLS: client.TLSFiles{CA: filepath.Join(dir, authority.CertName)},
			Timeout: 200 * time.Millisecond, OneShot: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Status(t.Context())
		var refused *tls.CertificateVerificationError
		if errors.As(err, &refused) && host == "127.0.0.1" {
			// The same client, once the file has changed.
			if err := cas[1].Save(dir); err != nil {
				t.Fatal(err)
			}
			_, err = c.Status(t.Context())
			if errors.As(err, &refused) {
				t.Errorf("with the new CA in the file: %v", err)
			}
			return nil
		}
		return err
	}
	if err := dial("127.0.0.1"); err != nil {
		t.Errorf("a server of another CA: %v", err)
	}
	var refused *tls.CertificateVerificationError
	if err := dial("localhost"); !errors.As(err, &refused) {
		t.Errorf("a certificate for another name: %v", err)
	}
}
