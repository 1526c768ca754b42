// Package jointoken owns the tokens with which agents join a cluster: their text, and
// what is signed with them.
package jointoken

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Token is the secret with which an agent joins a cluster. Its text is
// ixj1.ID.SECRET: the ID names it in lists, and SECRET is the pin of the cluster's
// CA and the seed of an Ed25519 key, of which the cluster knows only the public half.
type Token struct {
	Pin  Pin
	Seed [ed25519.SeedSize]byte
}

const prefix = "ixj1."

// Pin identifies a CA: the SHA-256 of its public key.
type Pin [sha256.Size]byte

// PinOf returns the pin of a CA's certificate.
func PinOf(cert *x509.Certificate) Pin { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// PinOfDER returns the pin of a CA's certificate, in DER; its zero value if that is not a certificate.
func PinOfDER(der []byte) Pin {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Pin{}
	}
	return PinOf(cert)
}

// String returns the pin in base64, as an HTTP public key pin is written.
func (p Pin) String() string { return "sha256/" + base64.StdEncoding.EncodeToString(p[:]) }

// New makes a token for the cluster whose CA has a pin.
func New(pin Pin) Token {
	t := Token{Pin: pin}
	_, _ = rand.Read(t.Seed[:]) // never fails
	return t
}

// String returns the token's text, which is a secret.
func (t Token) String() string {
	secret := append(t.Pin[:len(t.Pin):len(t.Pin)], t.Seed[:]...)
	return prefix + t.ID() + "." + base64.RawURLEncoding.EncodeToString(secret)
}

// Parse reads a token's text, with any space around it. Its errors do not
// show the secret.
func Parse(text string) (Token, error) {
	var t Token
	id, secret, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(text), prefix), ".")
	if !found || !strings.HasPrefix(strings.TrimSpace(text), prefix) {
		return t, fmt.Errorf("join token: it does not begin with %sID.: give what 'interrex join-token create' printed", prefix)
	}
	raw, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil || len(raw) != len(t.Pin)+len(t.Seed) {
		return t, fmt.Errorf("join token %q: its secret part is cut or changed: copy the whole line again", id)
	}
	copy(t.Pin[:], raw)
	copy(t.Seed[:], raw[len(t.Pin):])
	if t.ID() != id {
		return t, fmt.Errorf("join token %q: its ID does not belong to its secret part: copy the whole line again", id)
	}
	return t, nil
}

// ID returns the token's name in lists.
func (t Token) ID() string { return IDOf(t.PublicKey()) }

// IDOf returns the name of the token with a public key: 16 hexadecimal digits.
func IDOf(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// PublicKey returns the key with which the cluster verifies Sign.
func (t Token) PublicKey() ed25519.PublicKey {
	return t.key().Public().(ed25519.PublicKey)
}

func (t Token) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(t.Seed[:]) }

// Sign signs a certificate request for one TLS session: it is of no use in another.
func (t Token) Sign(session Session, request []byte) []byte {
	return ed25519.Sign(t.key(), Statement(session, sha256.Sum256(request)))
}

// Session is the exporter value of a TLS session (RFC 9266, with the label
// SessionLabel), which both its ends know and nobody between them.
type Session [32]byte

// SessionLabel is the label of the exporter value.
const SessionLabel = "EXPORTER-interrex-join"

// Statement is what a joiner signs: that it asks, in this session, for a certificate
// for the request with this SHA-256.
func Statement(session Session, request [sha256.Size]byte) []byte {
	return append(append([]byte("interrex join 1\x00"), session[:]...), request[:]...)
}
