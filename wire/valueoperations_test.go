package wire

import (
	"errors"
	"testing"

	"github.com/interrex/interrex"
)

func TestAnErrorNamesKeysAsTheirUserWroteThem(t *testing.T) {
	missing := interrex.Errorf(interrex.KindNotFound, "there is no interrex.Value/default/team/a/b at revision 7")
	missing.RetryAfter = 3
	for _, x := range []struct {
		namespace string
		err       error
		want      string
	}{
		{"team", missing, "not found: there is no key a/b at revision 7"},
		{"", missing, missing.Error()}, // of another namespace
		{"", interrex.Errorf(interrex.KindCASFailure, "operation 2: interrex.Value/default/default/a does not exist"), "cas failure: operation 2: key a does not exist"},
		{"", interrex.Errorf(interrex.KindVetoed, "webhook guard: no interrex.Value/default/default/a"), "vetoed: webhook guard: no interrex.Value/default/default/a"},
		{"", errors.New("interrex.Value/default/default/a"), "interrex.Value/default/default/a"},
	} {
		if got := KeyError(x.namespace, x.err); got.Error() != x.want {
			t.Errorf("%v: %v", x.err, got)
		}
	}
	if got := KeyError("team", missing).(*interrex.Error); got.RetryAfter != 3 || got.Kind != interrex.KindNotFound || missing.Message == got.Message {
		t.Errorf("%+v of %+v", got, missing)
	}
	if KeyError("", nil) != nil {
		t.Error("nil is an error")
	}
}
