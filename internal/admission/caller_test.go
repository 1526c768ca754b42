package admission

import (
	"context"
	"testing"

	"github.com/interrex/interrex"
)

func TestWhatACallerMayDoDependsOnItsDoor(t *testing.T) {
	for _, c := range []struct {
		door     Door
		operator bool
		do, run  interrex.Kind // what an operator may do, and what changes the agent
		name     string        // on behalf of ann
	}{
		{Public, true, "", interrex.ErrDisabled, ""},
		{Public, false, interrex.ErrDenied, interrex.ErrDisabled, ""},
		{Socket, true, "", "", ""},
		{Peer, true, "", interrex.ErrDisabled, "ann"},
	} {
		caller := CallerOf(WithCaller(context.Background(), Caller{Operator: true, Door: c.door}))
		if caller.Name != "" || !caller.Operator || caller.Door != c.door || caller.Doubt() != nil {
			t.Errorf("door %d: %+v", c.door, caller)
		}
		caller.Operator = c.operator
		if got := interrex.KindOf(caller.MayDo("force")); got != c.do {
			t.Errorf("%+v may do: %q, want %q", caller, got, c.do)
		}
		if got := interrex.KindOf(caller.MayManage("stop")); got != c.run {
			t.Errorf("%+v may manage: %q, want %q", caller, got, c.run)
		}
		if got := caller.OnBehalf("ann", ""); got.Name != c.name {
			t.Errorf("%+v on behalf of ann is %q, want %q", caller, got.Name, c.name)
		}
		if got := caller.OnBehalf("", "10.0.0.1"); (got.Origin != "") != (c.door == Peer) {
			t.Errorf("%+v on behalf of an address is at %q", caller, got.Origin)
		}
	}
}

func TestARequestWithoutADoorIsPublic(t *testing.T) {
	if c := CallerOf(context.Background()); c.Door != Public || !c.Operator {
		t.Errorf("it is %+v", c)
	}
}
