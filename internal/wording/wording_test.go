package wording

import (
	"strings"
	"testing"
	"time"
)

func TestALongTextIsCutBetweenCharacters(t *testing.T) {
	for s, want := range map[string]string{"four": "four", "five!": "five...", "abcé": "abc...", "": ""} {
		if got := Excerpt(s, 4); got != want {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

func TestALineIsShortAndCanBePrinted(t *testing.T) {
	for s, want := range map[string]string{
		strings.Repeat("x", 80):       strings.Repeat("x", 80),
		strings.Repeat("x", 79) + "é": strings.Repeat("x", 79) + "...",
		" a\t\x00b\xff ":              "a b",
		"one\ntwo\x1b[2J":             "one two [2J",
	} {
		if got := Line(s, 80); got != want {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

func TestADurationHasNoZerosAtItsEnd(t *testing.T) {
	for d, want := range map[time.Duration]string{
		24 * time.Hour: "24h", 90 * time.Second: "1m30s", time.Minute: "1m", 10 * time.Second: "10s", 0: "0s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v is written %q, not %q", d, got, want)
		}
	}
}

func TestOneIsNotPlural(t *testing.T) {
	for n, want := range []string{"0 failures", "1 failure", "2 failures"} {
		if got := Count(n, "failure"); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
