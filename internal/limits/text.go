package limits

import (
	"fmt"
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
