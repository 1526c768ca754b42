package wording

import "testing"

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
