package listener

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/transport"
)

// certificate returns a certificate of a new CA.
func certificate(t *testing.T) transport.TLS {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	c, err := ca.TLS("caller")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyCallersWithACertificateOfTheAuthorityAreLetIn(t *testing.T) {
	ours, theirs := certificate(t), certificate(t)
	roots, err := ours.Roots()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(RequireClientCert(roots, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "in")
	})))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	post := func(shown transport.TLS) (int, string) {
		client := server.Client()
		c := client.Transport.(*http.Transport).Clone()
		defer c.CloseIdleConnections()
		if shown != nil {
			// It is presented regardless of the CAs that the server names.
			c.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown.Certificate() }
		}
		answer, err := (&http.Client{Transport: c}).Post(server.URL+"/interrex.v1.LeaseService/Claim", "application/json", bytes.NewBufferString("{}"))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, string(body)
	}
	if code, body := post(ours); code != http.StatusOK || body != "in" {
		t.Errorf("our certificate: %d %s", code, body)
	}
	for name, shown := range map[string]transport.TLS{"no certificate": nil, "another authority's": theirs} {
		code, body := post(shown)
		if code != http.StatusUnauthorized || !strings.Contains(body, `"kind":"unauthenticated"`) {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
}
