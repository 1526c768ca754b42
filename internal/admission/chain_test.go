package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/interrex/interrex"
)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

// issue returns a certificate for a use, by itself or by another; one that is for no
// use is of an authority.
func issue(t *testing.T, by *issued, use ...x509.ExtKeyUsage) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &issued{&x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: use, IsCA: len(use) == 0, BasicConstraintsValid: true,
	}, key}
	if by == nil {
		by = made
	}
	der, err := x509.CreateCertificate(rand.Reader, made.Certificate, by.Certificate, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if made.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return made
}

func TestACallersCertificateIsForClientsAndLeadsToTheAuthority(t *testing.T) {
	root := issue(t, nil)
	between := issue(t, root)
	roots := x509.NewCertPool()
	roots.AddCert(root.Certificate)
	client, server := x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	for what, c := range map[string]struct {
		shown []*issued
		want  interrex.Kind
	}{
		"of the authority":           {[]*issued{issue(t, root, client)}, ""},
		"by way of another":          {[]*issued{issue(t, between, client), between}, ""},
		"without the one in between": {[]*issued{issue(t, between, client)}, interrex.ErrUnauthenticated},
		"for servers":                {[]*issued{issue(t, root, server)}, interrex.ErrUnauthenticated},
		"of nobody":                  {[]*issued{issue(t, nil, client)}, interrex.ErrUnauthenticated},
		"none":                       {nil, interrex.ErrUnauthenticated},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.TLS = &tls.ConnectionState{}
		for _, one := range c.shown {
			r.TLS.PeerCertificates = append(r.TLS.PeerCertificates, one.Certificate)
		}
		if _, err := verifiedChains(roots, r); interrex.KindOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
	if _, err := verifiedChains(roots, httptest.NewRequest("POST", "/", nil)); interrex.KindOf(err) != interrex.ErrUnauthenticated {
		t.Errorf("without TLS: %v", err)
	}
}

// The listener asks for certificates; with an access token, they are not looked at.
func TestATokenIsInPlaceOfACertificate(t *testing.T) {
	for header, want := range map[string]error{"Bearer ann": nil, "": interrex.ErrUnauthenticated} {
		r := httptest.NewRequest("POST", "/", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{issue(t, nil, x509.ExtKeyUsageClientAuth).Certificate}}
		r.Header.Set("Authorization", header)
		passed := false
		VerifyClientCert(x509.NewCertPool, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			if got := noCert(r.Context()); !errors.Is(got, want) || len(r.TLS.VerifiedChains) > 0 {
				t.Errorf("with %q: %v, and it is verified as %v", header, got, r.TLS.VerifiedChains)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
		if !passed {
			t.Errorf("with %q it is not passed on", header)
		}
	}
}
