package member

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"slices"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/certificates"
	"github.com/interrex/interrex/internal/codec"
	"github.com/interrex/interrex/state"
)

// Recertify replaces the key for which a member's certificates are issued. It carries
// what was signed with the former key, so that nobody has to be believed.
type Recertify struct {
	ID     string
	Key    string // the agent's new public key, in PKIX DER
	Former string // the certificate that it has had until now, in DER
	// Signature is over RenewalStatement, with the former certificate's key.
	Signature string
}

// RenewalStatement is what an agent signs with its former key: that its certificates
// are to be issued for another one from now on.
func RenewalStatement(id, key string) []byte {
	sum := sha256.Sum256([]byte(key))
	return append([]byte("interrex renew 1\x00"+id+"\x00"), sum[:]...)
}

// About is part of state.Command.
func (c *Recertify) About() state.About { return state.About{Name: "recertify", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Recertify) Validate() error {
	if err := validateID("id", c.ID); err != nil {
		return err
	}
	switch {
	case len(c.Former) > maxCA:
		return interrex.Errorf(interrex.ErrTooLarge, "former: %d bytes: at most %d are allowed", len(c.Former), maxCA)
	case len(c.Signature) > maxSignature:
		return interrex.Errorf(interrex.ErrTooLarge, "signature: %d bytes: at most %d are allowed", len(c.Signature), maxSignature)
	}
	if _, err := x509.ParseCertificate([]byte(c.Former)); err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "former: it is not a certificate, in DER")
	}
	return validateKey(c.Key)
}

// Append encodes the command.
func (c *Recertify) Append(b []byte) []byte {
	b = append(b, opRecertify)
	for _, s := range []string{c.ID, c.Key, c.Former, c.Signature} {
		b = codec.AppendText(b, s)
	}
	return b
}

func (c *Recertify) decode(d *decoder) {
	*c = Recertify{ID: d.Text(), Key: d.Text(), Former: d.Text(), Signature: d.Text()}
}

func (c *Recertify) check(now *content, _ state.Time) *interrex.Error {
	known := now.member(c.ID)
	former, err := x509.ParseCertificate([]byte(c.Former))
	switch {
	case now.ca == "":
		return interrex.Errorf(interrex.ErrDisabled, "this cluster has no CA of its own: its agents' certificates come from elsewhere, and are renewed there")
	case known == nil:
		return notFound(c.ID)
	case err != nil || !slices.ContainsFunc(now.trusted(), func(ca string) bool { return c.issued(ca, former) }):
		return interrex.Errorf(interrex.ErrDenied, "the former certificate was not issued to %s by this cluster's CA, or before that was rotated without it: bring it back with a token made for it: 'interrex join-token create --for %s'", c.ID, c.ID)
	case !signed(former.PublicKey, RenewalStatement(c.ID, c.Key), c.Signature):
		return interrex.Errorf(interrex.ErrDenied, "the signature is not that of the former certificate's key")
	case known.Key == "" || known.Key == c.Key || known.Key == string(former.RawSubjectPublicKeyInfo):
		return nil
	}
	return interrex.Errorf(interrex.ErrDenied, "the certificate of %s was issued for another key since: bring it back with a token made for it: 'interrex join-token create --for %s'", c.ID, c.ID)
}

// issued reports whether the former certificate is the member's, of that CA.
func (c *Recertify) issued(ca string, former *x509.Certificate) bool {
	by, err := x509.ParseCertificate([]byte(ca))
	if err != nil || former.CheckSignatureFrom(by) != nil {
		return false
	}
	id, err := certificates.IDOf(former)
	return err == nil && id == c.ID
}

// signed reports whether a signature over a text is of a key.
func signed(key any, text []byte, signature string) bool {
	switch key := key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, text, []byte(signature))
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(text)
		return ecdsa.VerifyASN1(key, sum[:], []byte(signature))
	}
	return false
}

func (c *Recertify) apply(t *Table, turn *state.Turn) *Reply {
	next := *t.Member(c.ID)
	next.Key, next.Renew, next.Revision = c.Key, false, turn.Revision
	t.change(func(now *content) { now.put(&next) })
	emit(turn, interrex.MemberChanged, &next)
	return &Reply{Member: &next}
}

// Renew asks a member to renew its certificate, as soon as it learns of it.
type Renew struct{ ID string }

// About is part of state.Command.
func (c *Renew) About() state.About { return state.About{Name: "renew_certificate", Privileged: true} }

// Validate reports which field is not allowed.
func (c *Renew) Validate() error { return validateID("id", c.ID) }

// Append encodes the command.
func (c *Renew) Append(b []byte) []byte { return codec.AppendText(append(b, opRenew), c.ID) }

func (c *Renew) decode(d *decoder) { c.ID = d.Text() }

func (c *Renew) check(now *content, _ state.Time) *interrex.Error {
	if now.ca == "" {
		return interrex.Errorf(interrex.ErrDisabled, "this cluster has no CA of its own: its agents' certificates come from elsewhere: replace their files, which are read again without a restart")
	}
	if now.member(c.ID) == nil {
		return notFound(c.ID)
	}
	return nil
}

func (c *Renew) apply(t *Table, turn *state.Turn) *Reply {
	next := *t.Member(c.ID)
	next.Renew, next.Revision = true, turn.Revision
	t.change(func(now *content) { now.put(&next) })
	emit(turn, interrex.MemberChanged, &next)
	return &Reply{Member: &next}
}
