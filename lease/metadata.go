package lease

import (
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/interrex/interrex"
)

// Metadata is what a holder says about itself: keys and values, immutable, in
// one string. Equal metadata are ==. The zero value is none.
type Metadata struct {
	pairs string // each pair's key and value as appendText writes them, by key
}

// NewMetadata packs a map. Keys may not be empty, all is UTF-8, and keys and
// values together have at most interrex.MaxMetadata bytes; the error is of kind
// KindInvalid or KindTooLarge.
func NewMetadata(m map[string]string) (Metadata, error) {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = appendText(appendText(b, k), m[k])
	}
	packed := Metadata{pairs: string(b)}
	return packed, packed.validate()
}

// Map gives a new map; nil when there is none.
func (m Metadata) Map() map[string]string {
	if m.pairs == "" {
		return nil
	}
	out := map[string]string{}
	for d := (decoder{rest: m.pairs}); d.rest != "" && !d.failed; {
		k := d.text()
		out[k] = d.text()
	}
	return out
}

// validate demands the one form in which equal metadata are equal strings.
func (m Metadata) validate() error {
	d, last, total := decoder{rest: m.pairs}, "", 0
	for d.rest != "" {
		k := d.text()
		v := d.text()
		switch {
		case d.failed || k != "" && k <= last:
			return interrex.Errorf(interrex.KindInvalid, "metadata: malformed")
		case k == "":
			return interrex.Errorf(interrex.KindInvalid, "metadata: a key is empty")
		case !utf8.ValidString(k) || !utf8.ValidString(v):
			return interrex.Errorf(interrex.KindInvalid, "metadata: %q=%q is not UTF-8", k, v)
		}
		last = k
		total += len(k) + len(v)
	}
	if total > interrex.MaxMetadata {
		return interrex.Errorf(interrex.KindTooLarge, "metadata: at most %d bytes of keys and values together are allowed, not %d", interrex.MaxMetadata, total)
	}
	return nil
}
