package services

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/state"
)

func TestAnAppendThatReadersCannotBeShownIsRefused(t *testing.T) {
	for _, text := range []string{`1e999`, `"\ud800"`, `{"a":1,"a":2}`, `[{"a":{"b":1,"b":1}}]`} {
		_, err := appendChange(&interrexv1.ChangeServiceAppendRequest{Json: text})
		if interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%s: %v, want it refused as invalid", text, err)
		}
		// A change that entered the log in another way does not hide others.
		m, err := Changes{}.message(&state.Event{Revision: 1, Kind: interrex.UserChange, Value: &change.User{Data: text}}, nil)
		if err != nil || m.GetData() == nil {
			t.Errorf("%s: shown as %v, %v, want null", text, m, err)
		}
	}
	for _, text := range []string{`null`, `9007199254740993`, `"\u0000"`, `{"a":{"a":1}}`} {
		if _, err := appendChange(&interrexv1.ChangeServiceAppendRequest{Json: text}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
