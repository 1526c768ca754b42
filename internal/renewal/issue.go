// Package renewal owns how an agent renews its certificate: it makes a new key, signs
// it with the former one, and gets a certificate from an agent that has the CA's key.
package renewal

import (
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/peercall"
)

// path is where an agent renews the certificates of others.
const path = "/renewal"

// Request is what an agent sends to renew its certificate.
type Request struct {
	ID string `json:"id"`
	// CSR is the certificate request for the new key, and Former the certificate that it
	// has had until now, in DER.
	CSR    []byte `json:"csr"`
	Former []byte `json:"former"`
	// Signature is over member.RenewalStatement, with the former certificate's key.
	Signature []byte `json:"signature"`
}

// Grant is what it gets.
type Grant struct {
	Certificate []byte   `json:"certificate"` // in DER
	Authorities [][]byte `json:"authorities"`
}

// Issuer renews certificates, if this agent has the CA's key.
type Issuer struct {
	Dir   string // the agent's data directory
	Table *member.Table
	// Record has the new key recorded, through the leader, within ctx. It returns the CAs
	// that the cluster trusted then, in DER, first the one that issues certificates.
	Record func(ctx context.Context, c *member.Recertify) ([][]byte, error)
	Now    func() time.Time
	Logger interrex.Logger
}

// errNoKey is returned where the CA's key is not.
var errNoKey = interrex.Errorf(interrex.ErrNotFound, "the CA's key is not on this agent")

// Serve renews the certificates of other agents.
func (i Issuer) Serve(mux *http.ServeMux) {
	peercall.Handle(mux, path, func(ctx context.Context, peer string, q *Request) (*Grant, error) {
		if q.ID != peer {
			return nil, interrex.Errorf(interrex.ErrDenied, "agent %s cannot renew the certificate of %s", peer, q.ID)
		}
		return i.Issue(ctx, q)
	})
}

// Issue records an agent's new key, and issues the certificate for it.
func (i Issuer) Issue(ctx context.Context, q *Request) (*Grant, error) {
	csr, err := x509.ParseCertificateRequest(q.CSR)
	if err == nil {
		err = authority.CheckRequest(csr, q.ID)
	}
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "%v", err)
	}
	if _, err := i.authority([]byte(i.Table.CA())); err != nil {
		return nil, err
	}
	authorities, err := i.Record(ctx, &member.Recertify{
		ID: q.ID, Key: string(csr.RawSubjectPublicKeyInfo), Former: string(q.Former), Signature: string(q.Signature),
	})
	if err != nil {
		return nil, err
	}
	if len(authorities) == 0 {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "the leader's answer has no CA: it runs another version")
	}
	ca, err := i.authority(authorities[0]) // another one, if the CA is being rotated
	if err != nil {
		return nil, err
	}
	cert, err := ca.Issue(csr, q.ID, i.Now())
	if err != nil {
		return nil, interrex.Errorf(interrex.ErrUnavailable, "%v", err)
	}
	i.Logger.Infof("renewed the certificate of agent %s", q.ID)
	return &Grant{Certificate: cert, Authorities: authorities}, nil
}

func (i Issuer) authority(der []byte) (*authority.Authority, error) {
	ca, err := authority.LoadOf(i.Dir, der)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errNoKey
	case err != nil:
		return nil, interrex.Errorf(interrex.ErrUnavailable, "%v", err)
	}
	return ca, nil
}

// Ask asks an agent to renew this one's certificate.
func Ask(ctx context.Context, dial peercall.Dialer, id string, q *Request) (*Grant, error) {
	return peercall.Call[Grant](ctx, dial, id, path, q)
}
