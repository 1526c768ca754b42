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
		if got := caller.OnBehalf("ann", "", ""); got.Name != c.name {
			t.Errorf("%+v on behalf of ann is %q, want %q", caller, got.Name, c.name)
		}
		if got := caller.OnBehalf("", "10.0.0.1", ""); (got.Origin != "") != (c.door == Peer) {
			t.Errorf("%+v on behalf of an address is at %q", caller, got.Origin)
		}
	}
}

func TestInWhoseShareACallerIs(t *testing.T) {
	for what, c := range map[string]struct {
		caller      Caller
		name, share string // of another agent's caller
		want        string
	}{
		"a name":                          {Caller{Name: "ann", Remote: "10.0.0.1:5"}, "", "", "ann"},
		"a connection":                    {Caller{Remote: "10.0.0.1:5"}, "bob", "x", "10.0.0.1:5"},
		"the socket":                      {Caller{Door: Socket, Remote: "socket"}, "", "", "socket"},
		"a name at another agent":         {Caller{Door: Peer, Remote: "10.0.0.2:7"}, "bob", "", "bob"},
		"a connection to another agent":   {Caller{Door: Peer, Remote: "10.0.0.2:7"}, "", "10.0.0.1:5", "10.0.0.1:5"},
		"nobody at another agent":         {Caller{Door: Peer, Remote: "10.0.0.2:7"}, "", "", "10.0.0.2:7"},
		"an agent without raft":           {Caller{Door: Forwarded, Remote: "10.9.9.9:1", share: "f1"}, "bob", "x", "f1"},
		"a name at an agent without raft": {Caller{Door: Forwarded, Name: "ann", share: "f1"}, "", "", "ann"},
	} {
		if got := c.caller.OnBehalf(c.name, "", c.share).Clone().Share(); got != c.want {
			t.Errorf("%s: %q", what, got)
		}
	}
}

func TestARequestWithoutADoorIsPublic(t *testing.T) {
	if c := CallerOf(context.Background()); c.Door != Public || !c.Operator {
		t.Errorf("it is %+v", c)
	}
}
