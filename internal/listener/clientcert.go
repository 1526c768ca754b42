package listener

import (
	"crypto/x509"
	"net/http"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// RequireClientCert returns a handler that admits only clients with a certificate
// of one of the roots. Others are answered ErrUnauthenticated with the reason,
// which a failed handshake would not tell them. The listener's TLS requests a
// certificate (tls.RequestClientCert), and does not verify it.
func RequireClientCert(roots *x509.CertPool, next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := checkClientCert(roots, r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case refuse.IsSupported(r):
			_ = refuse.Write(w, r, wire.Error(err)) // an error means that the caller has gone
		default:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	})
}

func checkClientCert(roots *x509.CertPool, r *http.Request) error {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return interrex.Errorf(interrex.ErrUnauthenticated, "no client certificate was presented, and this API requires one of its CA")
	}
	leaf, between := r.TLS.PeerCertificates[0], x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return interrex.Errorf(interrex.ErrUnauthenticated, "the client certificate of %q is refused: %v", leaf.Subject.CommonName, err)
	}
	return nil
}
