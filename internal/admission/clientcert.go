package admission

import (
	"context"
	"crypto/x509"
	"net/http"
	"slices"
	"time"

	"github.com/interrex/interrex"
)

type noCertKey struct{}

// VerifyClientCert returns a handler that verifies the client certificate of each
// request: a Guard behind it finds it in the request's VerifiedChains, or learns why
// there is none. The listener's TLS requests a certificate (tls.RequestClientCert), and
// does not verify it, because a failed handshake would not tell the client the reason.
// roots returns the CAs of callers, as they are then.
func VerifyClientCert(roots func() *x509.CertPool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" { // only that counts
			next.ServeHTTP(w, r)
			return
		}
		chains, err := connOf(r).chains(roots(), r)
		if err != nil {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), noCertKey{}, err)))
			return
		}
		state := *r.TLS
		state.VerifiedChains = chains
		r = r.WithContext(r.Context()) // a copy
		r.TLS = &state
		next.ServeHTTP(w, r)
	})
}

// verified is the certificate of a connection, verified with roots, until it or one of its
// CAs ends.
type verified struct {
	roots  *x509.CertPool
	until  time.Time
	chains [][]*x509.Certificate
}

// chains returns the verified chains of the certificate of a connection. Verifying takes
// as long as many requests do: it is repeated only with other roots.
func (c *conn) chains(roots *x509.CertPool, r *http.Request) ([][]*x509.Certificate, error) {
	if v := c.verified.Load(); v != nil && v.roots == roots && time.Now().Before(v.until) {
		return v.chains, nil
	}
	chains, err := verifiedChains(roots, r)
	if err != nil {
		return nil, err
	}
	v := &verified{roots: roots, until: chains[0][0].NotAfter, chains: chains}
	for _, cert := range slices.Concat(chains...) {
		if cert.NotAfter.Before(v.until) {
			v.until = cert.NotAfter
		}
	}
	c.verified.Store(v)
	return chains, nil
}

func verifiedChains(roots *x509.CertPool, r *http.Request) ([][]*x509.Certificate, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, interrex.Errorf(interrex.ErrUnauthenticated, "no client certificate was presented, and this API requires one of its CA, or an access token")
	}
	leaf, between := r.TLS.PeerCertificates[0], x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrUnauthenticated, "the client certificate of %q is refused: %v", certName(leaf), err)
	}
	return chains, nil
}

// noCert returns why a request has no client certificate where the API requires one.
func noCert(ctx context.Context) error {
	err, _ := ctx.Value(noCertKey{}).(error)
	return err
}

// certName returns the name of a certificate's owner: its common name, or the only other
// name that it has; empty: it has none, or several.
func certName(c *x509.Certificate) string {
	if c.Subject.CommonName != "" {
		return c.Subject.CommonName
	}
	names := append(append([]string{}, c.DNSNames...), c.EmailAddresses...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	if len(names) != 1 {
		return ""
	}
	return names[0]
}
