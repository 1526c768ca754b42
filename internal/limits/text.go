package limits

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckText requires 1 to limit bytes of printable UTF-8.
func CheckText(field, s string, limit int) error {
	if len(s) == 0 || len(s) > limit {
		return fmt.Errorf("%s: 1 to %d bytes are allowed, not %d", field, limit, len(s))
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s: %q is not UTF-8", field, s)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("%s: %q contains the unprintable character %U", field, s, r)
		}
	}
	return nil
}

// CheckPlain requires UTF-8 without the characters that IsControl reports. It is the
// rule for text of a request that is only shown; what an older log has is escaped where
// it is shown.
func CheckPlain(field, s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s: %q is not UTF-8", field, s)
	}
	for _, r := range s {
		if IsControl(r) {
			return fmt.Errorf("%s: %q contains the control character %U", field, s, r)
		}
	}
	return nil
}

// IsControl reports whether a character controls a terminal or the direction of text:
// C0, DEL, C1 and the bidirectional marks.
func IsControl(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// Escaped returns s with the characters that IsControl reports, but for those in keep, as
// JSON escapes them (\u001b), so that a document stays the same. A byte that is not UTF-8
// is replaced: some terminals take it for a control character.
func Escaped(s, keep string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, IsControl) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if IsControl(r) && !strings.ContainsRune(keep, r) {
			fmt.Fprintf(&b, "\\u%04x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
