// Package accesstoken owns the tokens with which callers use the API: their text, and
// what they allow.
package accesstoken

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Token is the secret with which a caller uses the API: 256 random bits. Its text is
// ixt1.ID.SECRET: the ID names it in lists, and of the SECRET the cluster knows only
// the hash.
type Token [32]byte

const prefix = "ixt1."

// New makes a token.
func New() (t Token) {
	_, _ = rand.Read(t[:]) // never fails
	return t
}

// Hash is the SHA-256 of a token.
type Hash [sha256.Size]byte

// Hash returns what the cluster keeps of the token.
func (t Token) Hash() Hash { return sha256.Sum256(t[:]) }

// ID returns the name of the token with this hash: 16 hexadecimal digits.
func (h Hash) ID() string { return hex.EncodeToString(h[:8]) }

// String returns the token's text, which is a secret.
func (t Token) String() string {
	return prefix + t.Hash().ID() + "." + base64.RawURLEncoding.EncodeToString(t[:])
}

// Parse reads a token's text, with any space around it. Its errors do not show the
// secret.
func Parse(text string) (t Token, h Hash, err error) {
	rest, is := strings.CutPrefix(strings.TrimSpace(text), prefix)
	id, secret, found := strings.Cut(rest, ".")
	if !is || !found {
		return t, h, errors.New("access token: it is not of the form " + prefix + "ID.SECRET: give what 'interrex token create' printed")
	}
	if base64.RawURLEncoding.DecodedLen(len(secret)) == len(t) {
		if _, err = base64.RawURLEncoding.Strict().Decode(t[:], []byte(secret)); err == nil {
			h = t.Hash()
		}
	}
	if h == (Hash{}) || h.ID() != id {
		return Token{}, Hash{}, fmt.Errorf("access token %.16q: it is cut or changed: copy the whole line again", id)
	}
	return t, h, nil
}
