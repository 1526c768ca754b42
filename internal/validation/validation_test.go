package validation

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
)

func TestARequestIDHasNoControlCharacters(t *testing.T) {
	for id, ok := range map[string]bool{
		"": true, "deploy-42, é": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false,
		"a\nb": false, "\x1b[31m": false, "\u009b": false, "\u202e": false, "\xff": false,
	} {
		if err := RequestID(id); (err == nil) != ok || !ok && interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
}
