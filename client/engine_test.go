package client_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// Leave refuses, and says what it was asked.
func (engine) Leave(_ context.Context, r *connect.Request[interrexv1.LeaveRequest]) (*connect.Response[interrexv1.LeaveResponse], error) {
	return nil, wire.Error(interrex.Errorf(interrex.ErrConflict, "purge: %v", r.Msg.GetPurge()))
}

func TestAnAgentDeletesItsDataOnlyIfItIsAsked(t *testing.T) {
	c := dial(t, client.Config{}, startAgent(t))
	for purge, want := range map[bool]string{true: "purge: true", false: "purge: false"} {
		if err := c.Leave(t.Context(), purge); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
