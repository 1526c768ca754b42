package interrex_test

import (
	"errors"
	"testing"

	"github.com/interrex/interrex"
)

func TestRulesThatAreNotValid(t *testing.T) {
	for _, text := range []string{"", "lease", "lease:claim", "lease:claim:", ":claim:*", "lease::*", "lease:claim,:*", "Lease:claim:*", "lease:claim:a*b", "lease:claim:a\n"} {
		if r, err := interrex.ParseAccessRule(text); !errors.Is(err, interrex.ErrInvalid) {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}
