package codec

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

// MaxMetadata is the maximum number of bytes of all keys and values together.
const MaxMetadata = 4 << 10

// Metadata is a map of keys and values in one string, immutable. Equal metadata
// are ==. The zero value is empty.
type Metadata struct {
	pairs string // each pair's key and value as AppendText writes them, by key
}

// NewMetadata packs a map of a request. Keys must not be empty, keys and values must be
// UTF-8 without control characters, and have at most MaxMetadata bytes together; the
// error is of kind ErrInvalid or ErrTooLarge.
func NewMetadata(m map[string]string) (Metadata, error) {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if err := cmp.Or(limits.CheckPlain("metadata", k), limits.CheckPlain("metadata: "+k, m[k])); err != nil {
			return Metadata{}, interrex.Errorf(interrex.ErrInvalid, "%v", err)
		}
		b = AppendText(AppendText(b, k), m[k])
	}
	packed := Metadata{pairs: string(b)}
	return packed, packed.Validate()
}

// Map returns a new map; nil if it is empty.
func (m Metadata) Map() map[string]string {
	if m.pairs == "" {
		return nil
	}
	out := map[string]string{}
	for d := NewDecoder(m.pairs); d.More(); {
		k := d.Text()
		out[k] = d.Text()
	}
	return out
}

// Packed returns the form that UnpackedMetadata reads.
func (m Metadata) Packed() string { return m.pairs }

// UnpackedMetadata is the reverse of Packed. It does not validate.
func UnpackedMetadata(packed string) Metadata { return Metadata{pairs: packed} }

// Clone returns a copy that shares no memory with the original.
func (m Metadata) Clone() Metadata { return Metadata{pairs: strings.Clone(m.pairs)} }

// Validate refuses any but the one form in which equal metadata are equal strings.
func (m Metadata) Validate() error {
	d, last, total := NewDecoder(m.pairs), "", 0
	for d.More() {
		k := d.Text()
		v := d.Text()
		switch {
		case d.Failed() || k != "" && k <= last:
			return interrex.Errorf(interrex.ErrInvalid, "metadata: malformed")
		case k == "":
			return interrex.Errorf(interrex.ErrInvalid, "metadata: a key is empty")
		case !utf8.ValidString(k) || !utf8.ValidString(v):
			return interrex.Errorf(interrex.ErrInvalid, "metadata: %q=%q is not UTF-8", k, v)
		}
		last = k
		total += len(k) + len(v)
	}
	if total > MaxMetadata {
		return interrex.Errorf(interrex.ErrTooLarge, "metadata: at most %d bytes of keys and values together are allowed, not %d", MaxMetadata, total)
	}
	return nil
}
