package client

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// A message that an agent cannot decode would end the stream, with the operations
// of others.
func TestOneCallersRequestIsNoOtherCallersError(t *testing.T) {
	big := &interrexv1.ProposeRequest{Data: make([]byte, wire.MaxBody)}
	if _, err := newRequest(interrexv1.StateServiceProposeProcedure, big, Options{}); interrex.KindOf(err) != interrex.ErrTooLarge {
		t.Errorf("got %v", err)
	}
	for _, o := range []Options{{RequestID: "\xff"}, {Fence: interrex.Fence{Key: interrex.Key{Namespace: "a", Name: "\xff"}, Token: 1}}} {
		if _, err := newRequest(interrexv1.StateServiceProposeProcedure, &interrexv1.ProposeRequest{}, o); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}
