package limits

import "testing"

func TestTextThatIsOnlyShownHasNoControlCharacters(t *testing.T) {
	for s, ok := range map[string]bool{
		"": true, "plain, é, 日本, 👩‍💻, a\u00a0b": true,
		"\x00": false, "a\nb": false, "\t": false, "\x1b[2J": false, "\x7f": false, "\u0085": false, "\u009b": false,
		"\u200e": false, "\u061c": false, "\u202e": false, "\u2066": false, "\xff": false,
	} {
		if err := CheckPlain("reason", s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
