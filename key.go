package interrex

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the names of leases and holders.
const (
	MaxNamespace = 63  // bytes of a namespace
	MaxName      = 512 // bytes of a name
	MaxHolder    = 256 // bytes of a holder's name, or of a pin's owner
)

// DefaultNamespace is the namespace of a key without one.
const DefaultNamespace = "default"

// Key names a lease: NAMESPACE/NAME.
//
// A namespace is 1 to 63 of `a-z 0-9 . _ -` and starts with a letter or a
// digit. A name is 1 to 512 bytes of printable UTF-8 and may contain slashes
// and spaces.
type Key struct {
	Namespace string
	Name      string
}

// ParseKey parses NAMESPACE/NAME; a string without a slash is a name in the
// namespace "default". The error is of kind ErrInvalid.
func ParseKey(s string) (Key, error) {
	k := Key{Namespace: DefaultNamespace, Name: s}
	if namespace, name, found := strings.Cut(s, "/"); found {
		k = Key{Namespace: namespace, Name: name}
	}
	return k, k.Validate()
}

// String returns NAMESPACE/NAME, which ParseKey parses.
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Compare orders keys by namespace, then by name, bytewise.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Namespace, o.Namespace); c != 0 {
		return c
	}
	return cmp.Compare(k.Name, o.Name)
}

// Validate returns a ErrInvalid error that says which part of the key is
// malformed.
func (k Key) Validate() error {
	if err := ValidateNamespace(k.Namespace); err != nil {
		return err
	}
	return checkText("key: name", k.Name, MaxName)
}

// ValidateNamespace checks a namespace; the error is ErrInvalid.
func ValidateNamespace(s string) error {
	if len(s) == 0 || len(s) > MaxNamespace {
		return Errorf(ErrInvalid, "key: a namespace has 1 to %d bytes, not %d: use NAMESPACE/NAME, or only NAME for the namespace %q", MaxNamespace, len(s), DefaultNamespace)
	}
	for i := range len(s) {
		c := s[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !plain && (i == 0 || c != '.' && c != '_' && c != '-') {
			return Errorf(ErrInvalid, "key: namespace %q: allowed are a-z 0-9 . _ - after a first letter or digit", s)
		}
	}
	return nil
}

// ValidateHolder checks a holder's name; the error is ErrInvalid.
func ValidateHolder(s string) error { return checkText("holder", s, MaxHolder) }

// ValidateNewHolder checks the new holder of a transfer; the error is
// ErrInvalid.
func ValidateNewHolder(s string) error { return checkText("to", s, MaxHolder) }

// ValidateOwner checks a pin's owner; the error is ErrInvalid.
func ValidateOwner(s string) error { return checkText("owner", s, MaxHolder) }

// checkText requires 1 to limit bytes of printable UTF-8.
func checkText(field, s string, limit int) error {
	if len(s) == 0 || len(s) > limit {
		return Errorf(ErrInvalid, "%s: 1 to %d bytes are allowed, not %d", field, limit, len(s))
	}
	if !utf8.ValidString(s) {
		return Errorf(ErrInvalid, "%s: %q is not UTF-8", field, s)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return Errorf(ErrInvalid, "%s: %q contains the unprintable character %U", field, s, r)
		}
	}
	return nil
}

// Token is a fencing token: the revision of the grant of a lease. The tokens of
// one key strictly increase. 0 is not a token.
type Token uint64

// String returns the token in decimal.
func (t Token) String() string { return strconv.FormatUint(uint64(t), 10) }

// Revision counts the changes of the replicated state. It never decreases. 0 is
// before the first change.
type Revision uint64

// String returns the revision in decimal.
func (r Revision) String() string { return strconv.FormatUint(uint64(r), 10) }

// Fence makes a write conditional: it fails with ErrNotHeld unless the lease of
// Key is held under Token when the write is applied. The zero Fence means no
// fence.
type Fence struct {
	Key   Key
	Token Token
}

// Validate checks a fence; the error is ErrInvalid. The zero Fence is valid.
func (f Fence) Validate() error {
	if f == (Fence{}) {
		return nil
	}
	if f.Token == 0 {
		return Errorf(ErrInvalid, "fence: token: missing: give the token under which %s is held", f.Key)
	}
	if e, wrong := errors.AsType[*Error](f.Key.Validate()); wrong {
		return Errorf(e.Kind, "fence: %s", e.Message)
	}
	return nil
}
