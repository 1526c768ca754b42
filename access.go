package interrex

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex/internal/limits"
)

// AccessTokens are the tokens of those who may use the API. As soon as there has been
// one, every caller needs one, or a client certificate, except at an agent's socket.
type AccessTokens interface {
	// Create creates a token, and returns its text, which is a secret that is not kept
	// anywhere.
	Create(ctx context.Context, r AccessTokenRequest) (secret string, t AccessToken, err error)
	// Revoke ends a token, and what is open with it. The error is ErrNotFound if there
	// is no such token.
	Revoke(ctx context.Context, id string) (Revision, error)
	// List returns the tokens that have not ended, by ID.
	List(ctx context.Context, o ReadOptions) ([]AccessToken, Revision, error)
}

// AccessTokenRequest is the request for an access token.
type AccessTokenRequest struct {
	Name     string        // of the caller: 1 to 64 of a-z A-Z 0-9 . _ - / @ :
	Operator bool          // it may do everything; then it has no rules
	Rules    []AccessRule  // at most 64
	TTL      time.Duration // of cluster time, from 1 s; 0: it has no end
}

// AccessToken is what the cluster knows of an access token.
type AccessToken struct {
	ID        string // 16 hexadecimal digits
	Name      string
	Operator  bool
	Rules     []AccessRule
	Remaining time.Duration // the answering agent's estimate; 0: it has no end
	ExpiresAt time.Time     // its wall clock plus that
	Revision  Revision      // at which it was created
}

// AccessRule allows some methods of one service on some keys. Its text is
// TABLE:VERB[,VERB]:PREFIX, with :own at its end if Own is set.
type AccessRule struct {
	// Table is the service, for example lease, resource or change; *: all.
	Table string
	// Verbs are its methods, for example claim; read, list and watch are those that
	// read; *: all.
	Verbs []string
	// Prefix is a key, or the beginning of keys and *.
	Prefix string
	// Own binds the holder that a request names, and the holder of the lease whose token
	// it shows, to the token's name.
	Own bool
}

// ownSuffix marks the text of a rule with Own.
const ownSuffix = ":own"

// String returns the rule's text, which ParseAccessRule reads.
func (r AccessRule) String() string {
	text := r.Table + ":" + strings.Join(r.Verbs, ",") + ":" + r.Prefix
	if r.Own {
		text += ownSuffix
	}
	return text
}

// ParseAccessRule reads the text of a rule. The error is ErrInvalid.
func ParseAccessRule(text string) (AccessRule, error) {
	parts := strings.SplitN(text, ":", 3)
	if len(parts) < 3 {
		return AccessRule{}, Errorf(ErrInvalid, "rule: %q is not TABLE:VERB[,VERB]:PREFIX, such as lease:claim,extend:default/*", text)
	}
	r := AccessRule{Table: parts[0], Verbs: strings.Split(parts[1], ",")}
	r.Prefix, r.Own = strings.CutSuffix(parts[2], ownSuffix)
	return r, r.Validate()
}

// Validate returns an ErrInvalid error that says what is wrong with the rule.
func (r AccessRule) Validate() error {
	for _, word := range append([]string{r.Table}, r.Verbs...) {
		if !isWord(word) {
			return Errorf(ErrInvalid, "rule: %q: %q is not the name of a table or verb: give 1 to 64 of a-z 0-9 _, or *", r.String(), word)
		}
	}
	switch star := strings.IndexByte(r.Prefix, '*'); {
	case len(r.Verbs) == 0 || len(r.Verbs) > 32:
		return Errorf(ErrInvalid, "rule: %q has %d verbs: give 1 to 32", r.String(), len(r.Verbs))
	case r.Prefix == "" || len(r.Prefix) > limits.MaxRulePrefix:
		return Errorf(ErrInvalid, "rule: %q: its prefix has %d bytes: give a key of at most %d, such as default/db, or the beginning of keys and *", r.String(), len(r.Prefix), limits.MaxRulePrefix)
	case star >= 0 && star < len(r.Prefix)-1:
		return Errorf(ErrInvalid, "rule: %q: its prefix has a * that is not at its end; only :own may follow it", r.String())
	case slices.ContainsFunc([]byte(r.Prefix), func(c byte) bool { return c < ' ' || c == 0x7f }):
		return Errorf(ErrInvalid, "rule: its prefix has a control character")
	}
	return nil
}

// isWord reports whether a text may name a table or verb.
func isWord(s string) bool {
	if s == "*" {
		return true
	}
	for _, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
