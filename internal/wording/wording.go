// Package wording owns the formatting of values in messages.
package wording

import (
	"strings"
	"time"
	"unicode"
)

// Excerpt returns s, or its first limit bytes and "..." if it is longer.
func Excerpt(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

// Line is Excerpt for untrusted input: the result is one line of printable
// characters. It reads at most twice limit bytes of s.
func Line(s string, limit int) string {
	printable := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 2*limit)], ""))
	return Excerpt(strings.Join(strings.Fields(printable), " "), limit)
}

// Duration formats a duration without trailing zero units: 24h, not 24h0m0s.
func Duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
