package wording

import (
	"strings"
	"testing"
)

func TestNearestIsAPrefixOrTheLeastEdits(t *testing.T) {
	names := []string{"claim", "extend", "status", "watch"}
	for word, want := range map[string]string{"stat": "status", "s": "status", "clam": "claim", "wacth": "watch", "extedn": "extend"} {
		if got := Nearest(word, names); got != want {
			t.Errorf("nearest to %q is %q, not %q", word, got, want)
		}
	}
	if got := Nearest("explain", names); got != "" {
		t.Errorf("nearest to explain is %q", got)
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("nearest of none is %q", got)
	}
}

func TestALongWordCostsNothing(t *testing.T) {
	word := strings.Repeat("x", 1<<26)
	if got := Nearest(word, []string{strings.Repeat("y", 1<<10), "claim"}); got != "" { // compared, it would take a minute
		t.Errorf("nearest is %q", got)
	}
}
