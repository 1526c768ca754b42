package renewal

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/member"
)

// renew gets a new certificate and puts it into the agent's files. What a renewal that
// was cut has left is used: the new key may be recorded already.
func (c Config) renew(ctx context.Context) error {
	present, err := c.Certificate()
	if err != nil {
		return err
	}
	r, err := authority.ReadRenewal(c.Dir)
	if err != nil {
		return err
	}
	if r == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return fmt.Errorf("cannot make the agent's key: %w", err)
		}
		r = &authority.Renewal{Key: key}
		if err := r.Save(c.Dir); err != nil {
			return err
		}
	}
	if r.Certificate != nil {
		return r.Install(c.Dir)
	}
	q, err := request(c.ID, c.Names(), present, r.Key)
	if err != nil {
		return err
	}
	grant, err := c.Ask(ctx, q)
	if err != nil {
		return err
	}
	if err := grant.check(r.Key); err != nil {
		return err
	}
	r.Certificate, r.Authorities = grant.Certificate, grant.Authorities
	if err := r.Save(c.Dir); err != nil {
		return err
	}
	return r.Install(c.Dir)
}

// request makes the request for a new key: with the names of the present certificate,
// and signed with its key.
func request(id string, names []string, present *tls.Certificate, key *ecdsa.PrivateKey) (*Request, error) {
	csr, err := authority.Request(key, id, authority.Names(names, present.Leaf))
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("cannot encode the agent's key: %w", err)
	}
	signature, err := sign(present.PrivateKey, member.RenewalStatement(id, string(public)))
	if err != nil {
		return nil, err
	}
	return &Request{ID: id, CSR: csr, Former: present.Leaf.Raw, Signature: signature}, nil
}

func sign(key crypto.PrivateKey, text []byte) ([]byte, error) {
	switch key := key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, text), nil
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256(text)
		return ecdsa.SignASN1(rand.Reader, key, sum[:])
	}
	return nil, fmt.Errorf("cannot sign with a %T", key)
}

// check returns why a grant is not for a key, or not of the authorities that came with
// it.
func (g *Grant) check(key *ecdsa.PrivateKey) error {
	cert, err := x509.ParseCertificate(g.Certificate)
	if err != nil {
		return fmt.Errorf("the certificate that was issued cannot be read: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return errors.New("the certificate that was issued is for another key")
	}
	for _, der := range g.Authorities {
		ca, err := x509.ParseCertificate(der)
		if err == nil && bytes.Equal(ca.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(ca) == nil {
			return nil
		}
	}
	return errors.New("the certificate that was issued is of none of the CAs that came with it")
}
