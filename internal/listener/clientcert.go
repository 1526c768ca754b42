package listener

import (
	"crypto/x509"
	"net/http"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

// RequireClientCert lets in those who show a certificate of one of the roots.
// The others are answered KindUnauthenticated, with the reason: a handshake
// that fails would not tell it. The listener's TLS asks for a certificate
// (tls.RequestClientCert) and leaves the judgement to this.
func RequireClientCert(roots *x509.CertPool, next http.Handler) http.Handler {
	refuse := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := checkClientCert(roots, r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
		case refuse.IsSupported(r):
			_ = refuse.Write(w, r, wire.Error(err)) // the caller has gone, if it fails
		default:
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	})
}

func checkClientCert(roots *x509.CertPool, r *http.Request) error {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return interrex.Errorf(interrex.KindUnauthenticated, "no client certificate was shown, and this API wants one of its authority")
	}
	leaf, between := r.TLS.PeerCertificates[0], x509.NewCertPool()
	for _, c := range r.TLS.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return interrex.Errorf(interrex.KindUnauthenticated, "the client certificate of %q is refused: %v", leaf.Subject.CommonName, err)
	}
	return nil
}
