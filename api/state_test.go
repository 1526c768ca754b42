package api

import (
	"errors"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func proposeOp(table state.TableID, data []byte) *interrexv1.Operation {
	return op(1, interrexv1.StateServiceProposeProcedure, &interrexv1.ProposeRequest{Table: uint32(table), Data: data})
}

func TestOnlyOperatorsPropose(t *testing.T) {
	nd := cluster(t, 1)[0]
	in := proposeOp(statetest.RegisterTable, statetest.Set("key", "text", 0))
	for _, test := range []struct {
		name   string
		caller caller
		want   error
	}{
		{"anybody", caller{name: "ann"}, interrex.ErrDenied},
		{"anybody at the socket", caller{name: "ann", door: doorSocket}, interrex.ErrDenied},
		{"an operator", caller{operator: true}, nil},
		{"another agent, which has decided it", caller{operator: true, door: doorPeer}, nil},
	} {
		r, err := nd.opened(test.caller, in, time.Now())
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err == nil && (!r.parts[0].command.About().Privileged || r.parts[0].command.About().Name != "set" || r.parts[0].table != statetest.RegisterTable) {
			t.Errorf("%s: %+v", test.name, r.parts[0].command.About())
		}
	}
}

func TestAProposalIsNoWayAroundADoor(t *testing.T) {
	nd := cluster(t, 1)[0]
	retire := (&state.Retire{Name: "ann"}).Append(nil)
	for table, data := range map[state.TableID][]byte{
		state.OwnTable: retire, state.LeaseTable: writes(t)[interrexv1.LeaseServiceClaimProcedure].command.Append(nil), state.FirstOwnTable - 1: nil,
	} {
		if _, err := nd.opened(caller{operator: true}, proposeOp(table, data), time.Now()); !errors.Is(err, interrex.ErrInvalid) {
			t.Errorf("table %d: %v, want invalid", table, err)
		}
	}
}

func TestAProposalTakesWhatItsEnvelopeCarries(t *testing.T) {
	nd := cluster(t, 1)[0]
	in := proposeOp(statetest.RegisterTable, statetest.Set("key", "text", 0))
	in.RequestId, in.Attempt, in.Mark, in.Fence = "ann.7", 2, 3, &interrexv1.Fence{Key: "a/b", Token: 4}
	r, err := nd.opened(caller{operator: true}, in, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if r.op.RequestID != "ann.7" || r.op.Attempt != 2 || r.op.Mark != 3 || r.op.Fence != (interrex.Fence{Key: parse("a/b"), Token: 4}) {
		t.Errorf("the log gets %+v", r.op)
	}
	in.WaitMs = 10
	if _, err := nd.opened(caller{operator: true}, in, time.Now()); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a proposal that waits: %v", err)
	}
}

func TestAMethodThatCannotBeServedIsServedByNobody(t *testing.T) {
	unknown := Read("/nobody.v1.NoService/Get", func(*interrexv1.GetRequest, *state.State) (*interrexv1.GetResponse, error) { return nil, nil })
	service := Service{Methods: []Method{unknown}}
	if err := ValidateServices(service); unknown.err == nil || err != unknown.err {
		t.Errorf("beside the others: %v", err)
	}
	if err := ValidateService(state.FirstOwnTable, service); unknown.err == nil || err != unknown.err {
		t.Errorf("alone: %v", err)
	}
}
