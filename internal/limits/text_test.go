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

func TestWhatIsShownHasNoControlCharacters(t *testing.T) {
	for s, want := range map[string]string{
		"plain, é\n\t": "plain, é\n\t", "a\x1b[2J\u009b\u202eb\x7f\n": `a\u001b[2J\u009b\u202eb\u007f` + "\n", "a\x9b2J": "a\ufffd2J",
	} {
		if got := Escaped(s, "\n\t"); got != want {
			t.Errorf("%q is shown as %q, not %q", s, got, want)
		}
	}
	if got := Escaped("a\nb", ""); got != `a\u000ab` {
		t.Errorf("where lines are not kept: %q", got)
	}
}
