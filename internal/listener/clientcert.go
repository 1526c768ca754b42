package listener

import (
	"crypto/x509"
	"net/http"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// RequireClientCert returns a handler that admits only clients with a certificate
// of one of the roots, which it notes in the request's VerifiedChains, or with an
// Authorization header, which the next handler has to judge. Others are answered ErrUnauthenticated with the reason,
// which a failed handshake would not tell them. The listener's TLS requests a
// certificate (tls.RequestClientCert), and does not verify it.
func RequireClientCert(roots *x509.CertPool, next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" { // an access token, which the handler judges
			next.ServeHTTP(w, r)
			return
		}
		chains, err := checkClientCert(roots, r)
		switch {
		case err == nil:
			verified := *r.TLS
			verified.VerifiedChains = chains
			r = r.WithContext(r.Context()) // a copy
			r.TLS = &verified
			next.ServeHTTP(w, r)
		case refuse.IsSupported(r):
			_ = refuse.Write(w, r, wire.Error(err)) // an error means that the caller has gone
		default:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	})
}

func checkClientCert(roots *x509.CertPool, r *http.Request) ([][]*x509.Certificate, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil, interrex.Errorf(interrex.ErrUnauthenticated, "no client certificate was presented, and this API requires one of its CA")
	}
	leaf, between := r.TLS.PeerCertificates[0], x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		between.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrUnauthenticated, "the client certificate of %q is refused: %v", leaf.Subject.CommonName, err)
	}
	return chains, nil
}
