package config_test

import (
	"testing"

	"github.com/interrex/interrex/config"
)

func TestNearestIsAPrefixOrTheLeastEdits(t *testing.T) {
	names := []string{"claim", "extend", "status", "watch"}
	for word, want := range map[string]string{"stat": "status", "s": "status", "clam": "claim", "wacth": "watch", "extedn": "extend"} {
		if got := config.Nearest(word, names); got != want {
			t.Errorf("nearest to %q is %q, not %q", word, got, want)
		}
	}
	if got := config.Nearest("explain", names); got != "" {
		t.Errorf("nearest to explain is %q", got)
	}
	if got := config.Nearest("x", nil); got != "" {
		t.Errorf("nearest of none is %q", got)
	}
}
