package admission

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

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
	guard := &Guard{Tokens: known{first: t.Context(), open: true}, Silence: hears.of, CAs: func() [][]byte { return nil }}
	server := httptest.NewUnstartedServer(VerifyClientCert(func() *x509.CertPool { return roots }, guard.Admit(Public, func(path string) bool { return path == "/livez" }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, CallerOf(r.Context()).Name)
	}))))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	post := func(path string, shown transport.TLS) (int, string) {
		client := server.Client()
		c := client.Transport.(*http.Transport).Clone()
		defer c.CloseIdleConnections()
		if shown != nil {
			// It is presented regardless of the CAs that the server names.
			c.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return shown.Certificate() }
		}
		answer, err := (&http.Client{Transport: c}).Post(server.URL+path, "application/json", bytes.NewBufferString("{}"))
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
	const claim = "/interrex.v1.LeaseService/Claim"
	if code, body := post(claim, ours); code != http.StatusOK || body != "caller" {
		t.Errorf("our certificate: %d %s", code, body)
	}
	for name, shown := range map[string]transport.TLS{"no certificate": nil, "another authority's": theirs} {
		code, body := post(claim, shown)
		if code != http.StatusUnauthorized || !strings.Contains(body, `"kind":"unauthenticated"`) {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if code, body := post("/livez", nil); code != http.StatusOK {
		t.Errorf("a probe without a certificate: %d %s", code, body)
	}
}

func TestACertificateHasOneName(t *testing.T) {
	uri := &url.URL{Scheme: "spiffe", Host: "a", Path: "/b"}
	for want, c := range map[string]*x509.Certificate{
		"ann":          {Subject: pkix.Name{CommonName: "ann"}, DNSNames: []string{"x", "y"}},
		"web.example":  {DNSNames: []string{"web.example"}},
		"bob@example":  {EmailAddresses: []string{"bob@example"}},
		"spiffe://a/b": {URIs: []*url.URL{uri}},
		"":             {DNSNames: []string{"a"}, URIs: []*url.URL{uri}},
	} {
		if got := certName(c); got != want {
			t.Errorf("it is %q, want %q", got, want)
		}
	}
}

// certified returns a request on a connection with a client certificate, and the CA's pool.
func certified(t testing.TB) (*http.Request, *x509.CertPool) {
	t.Helper()
	ca, err := certificates.DevCA()
	if err != nil {
		t.Fatal(err)
	}
	given, err := ca.TLS("ann")
	if err != nil {
		t.Fatal(err)
	}
	roots, err := given.Roots()
	if err != nil {
		t.Fatal(err)
	}
	shown, err := given.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(shown.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/", nil)
	r = r.WithContext(WithEntrance(r.Context(), Entrance{}, func() {}))
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	return r, roots
}

func TestACertificateIsVerifiedOnceForAConnection(t *testing.T) {
	r, roots := certified(t)
	_, others := certified(t)
	now := roots
	var got error
	h := VerifyClientCert(func() *x509.CertPool { return now }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got = noCert(r.Context()); got == nil && len(r.TLS.VerifiedChains) == 0 {
			t.Error("it has no chain")
		}
	}))
	serve := func() error { h.ServeHTTP(httptest.NewRecorder(), r); return got }
	if err := serve(); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = serve() }); n > 20 {
		t.Errorf("a further request makes %v allocations: it verifies the certificate again", n)
	}
	now = others
	if err := serve(); err == nil {
		t.Error("it is accepted with roots that are not its")
	}
	now = roots
	if err := serve(); err != nil {
		t.Error(err)
	}
	connOf(r).verified.Load().until = time.Now().Add(-time.Second)
	r.TLS.PeerCertificates[0].NotAfter = time.Now().Add(-time.Second)
	if err := serve(); err == nil {
		t.Error("it is accepted after its end")
	}
}

func BenchmarkARequestWithAClientCertificate(b *testing.B) {
	r, roots := certified(b)
	h := VerifyClientCert(func() *x509.CertPool { return roots }, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w := httptest.NewRecorder()
	for b.Loop() {
		h.ServeHTTP(w, r)
	}
}

func BenchmarkVerifyingAClientCertificate(b *testing.B) {
	r, roots := certified(b)
	for b.Loop() {
		if _, err := verifiedChains(roots, r); err != nil {
			b.Fatal(err)
		}
	}
}
