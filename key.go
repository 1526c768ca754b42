package interrex

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/interrex/interrex/internal/limits"
)

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
	k := Key{Namespace: limits.DefaultNamespace, Name: s}
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
	if err := validateNamespace(k.Namespace); err != nil {
		return err
	}
	return checkText("key: name", k.Name, limits.MaxName)
}

// validateNamespace checks a namespace; the error is ErrInvalid.
func validateNamespace(s string) error {
	if len(s) == 0 || len(s) > limits.MaxNamespace {
		return Errorf(ErrInvalid, "key: a namespace has 1 to %d bytes, not %d: use NAMESPACE/NAME, or only NAME for the namespace %q", limits.MaxNamespace, len(s), limits.DefaultNamespace)
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

// checkText requires 1 to limit bytes of printable UTF-8.
func checkText(field, s string, limit int) error {
	if err := limits.CheckText(field, s, limit); err != nil {
		return Errorf(ErrInvalid, "%v", err)
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
