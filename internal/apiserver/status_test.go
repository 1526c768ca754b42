package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/wire"
)

// The table of the kinds says which status an answer in JSON carries: the RPC
// library makes it of the code.
func TestAnAnswerInJSONCarriesTheStatusOfItsKind(t *testing.T) {
	m := method.New(api.Read(interrexv1.LeaseServiceGetProcedure, func(*interrexv1.GetRequest, *state.State) (*interrexv1.GetResponse, error) { return nil, nil }))
	for _, kind := range kinds {
		h := m.Declared.Handler(func(context.Context, proto.Message) (proto.Message, error) {
			return nil, wire.Error(interrex.Errorf(kind, "told so"))
		})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, interrexv1.LeaseServiceGetProcedure, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if want := kind.Numbers().HTTP; w.Code != want || !strings.Contains(w.Body.String(), fmt.Sprintf("%s: told so", kind)) {
			t.Errorf("%s: status %d, want %d: %s", kind, w.Code, want, w.Body)
		}
	}
}

// kinds are all kinds of errors.
var kinds = []interrex.Kind{
	interrex.KindInvalid, interrex.KindTooLarge, interrex.KindNotFound, interrex.KindHeld, interrex.KindNotHeld, interrex.KindCASFailure,
	interrex.KindWrongUID, interrex.KindGroupVersionMismatch, interrex.KindConflict, interrex.KindUnauthenticated, interrex.KindDenied,
	interrex.KindVetoed, interrex.KindNotLeader, interrex.KindNoLeader, interrex.KindUnavailable, interrex.KindDraining,
	interrex.KindOverloaded, interrex.KindTimeout, interrex.KindOutcomeUnknown, interrex.KindNameGone, interrex.KindCompacted,
	interrex.KindWatchClosed, interrex.KindDisabled,
}
