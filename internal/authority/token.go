package authority

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// JoinToken is the secret with which an agent joins a cluster. Its text is
// ixj1.ID.SECRET: the ID names it in lists, and SECRET is the pin of the cluster's
// CA and the seed of an Ed25519 key, of which the cluster knows only the public half.
type JoinToken struct {
	Pin  Pin
	Seed [ed25519.SeedSize]byte
}

const tokenPrefix = "ixj1."

// NewJoinToken makes a token for the cluster of an authority.
func NewJoinToken(pin Pin) JoinToken {
	t := JoinToken{Pin: pin}
	_, _ = rand.Read(t.Seed[:]) // never fails
	return t
}

// String returns the token's text, which is a secret.
func (t JoinToken) String() string {
	secret := append(t.Pin[:len(t.Pin):len(t.Pin)], t.Seed[:]...)
	return tokenPrefix + t.ID() + "." + base64.RawURLEncoding.EncodeToString(secret)
}

// ParseJoinToken reads a token's text, with any space around it. Its errors do not
// show the secret.
func ParseJoinToken(text string) (JoinToken, error) {
	var t JoinToken
	id, secret, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(text), tokenPrefix), ".")
	if !found || !strings.HasPrefix(strings.TrimSpace(text), tokenPrefix) {
		return t, fmt.Errorf("join token: it does not begin with %sID.: give what 'interrex join-token create' printed", tokenPrefix)
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
func (t JoinToken) ID() string { return TokenID(t.PublicKey()) }

// TokenID returns the name of the token with a public key: 16 hexadecimal digits.
func TokenID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:8])
}

// PublicKey returns the key with which the cluster verifies Sign.
func (t JoinToken) PublicKey() ed25519.PublicKey {
	return t.key().Public().(ed25519.PublicKey)
}

func (t JoinToken) key() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(t.Seed[:]) }

// Sign signs a certificate request for one TLS session: it is of no use in another.
func (t JoinToken) Sign(session Session, request []byte) []byte {
	return ed25519.Sign(t.key(), Statement(session, request))
}

// Session is the exporter value of a TLS session (RFC 9266, with the label
// SessionLabel), which both its ends know and nobody between them.
type Session [32]byte

// SessionLabel is the label of the exporter value.
const SessionLabel = "EXPORTER-interrex-join"

// Statement is what a joiner signs: that it asks, in this session, for a certificate
// for this request.
func Statement(session Session, request []byte) []byte {
	sum := sha256.Sum256(request)
	return append(append([]byte("interrex join 1\x00"), session[:]...), sum[:]...)
}
