// Package wording owns how values are written in messages.
package wording

import (
	"strings"
	"time"
	"unicode"
)

// Excerpt returns s, or of a longer one the first limit bytes and "...".
func Excerpt(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

// Line is Excerpt for what a stranger may have written: one line, and only what
// can be printed. It looks at twice the limit of s at most.
func Line(s string, limit int) string {
	printable := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 2*limit)], ""))
	return Excerpt(strings.Join(strings.Fields(printable), " "), limit)
}

// Duration writes a duration as it is read, without zeros at its end: 24h, not
// 24h0m0s.
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
