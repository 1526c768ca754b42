package apiserver

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

func proposeOp(table state.TableID, data []byte) *interrexv1.Operation {
	return op(1, interrexv1.StateServiceProposeProcedure, &interrexv1.ProposeRequest{Table: uint32(table), Data: data})
}

func TestOnlyOperatorsPropose(t *testing.T) {
	nd := cluster(t, 1)[0]
	in := proposeOp(testtable.RegisterTable, testtable.Set("key", "text", 0))
	for _, test := range []struct {
		name   string
		caller admission.Caller
		want   error
	}{
		{"anybody", admission.Caller{Name: "ann"}, interrex.ErrDenied},
		{"anybody at the socket", admission.Caller{Name: "ann", Door: admission.Socket}, interrex.ErrDenied},
		{"an operator", admission.Caller{Operator: true}, nil},
		{"another agent, which has decided it", admission.Caller{Operator: true, Door: admission.Peer}, nil},
	} {
		r, err := nd.opened(test.caller, in, time.Now())
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if err != nil {
			continue
		}
		if made := r.Operation(time.Now(), nil, nil); !made.Command.About().Privileged || made.Command.About().Name != "set" || made.Table != testtable.RegisterTable {
			t.Errorf("%s: %+v", test.name, made.Command.About())
		}
	}
}

func TestAProposalIsNoWayAroundADoor(t *testing.T) {
	nd := cluster(t, 1)[0]
	retire := (&machine.Retire{Name: "ann"}).Append(nil)
	for table, data := range map[state.TableID][]byte{
		machine.SystemTable: retire, machine.LeaseTable: writes(t)[interrexv1.LeaseServiceClaimProcedure].command.Append(nil), state.FirstEmbedderTable - 1: nil,
	} {
		if _, err := nd.opened(admission.Caller{Operator: true}, proposeOp(table, data), time.Now()); !errors.Is(err, interrex.ErrInvalid) {
			t.Errorf("table %d: %v, want invalid", table, err)
		}
	}
}

func TestAProposalTakesWhatItsEnvelopeCarries(t *testing.T) {
	nd := cluster(t, 1)[0]
	in := proposeOp(testtable.RegisterTable, testtable.Set("key", "text", 0))
	in.RequestId, in.Attempt, in.Mark, in.Fence = "ann.7", 2, 3, &interrexv1.Fence{Key: "a/b", Token: 4}
	r, err := nd.opened(admission.Caller{Operator: true}, in, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if op := r.Operation(time.Now(), nil, nil); op.RequestID != "ann.7" || op.Attempt != 2 || op.Mark != 3 || op.Fence != (interrex.Fence{Key: parse("a/b"), Token: 4}) {
		t.Errorf("the log gets %+v", op)
	}
	in.WaitMs = 10
	if _, err := nd.opened(admission.Caller{Operator: true}, in, time.Now()); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("a proposal that waits: %v", err)
	}
}

func TestAMethodThatCannotBeServedIsServedByNobody(t *testing.T) {
	unknown := api.Read("/nobody.v1.NoService/Get", func(*interrexv1.GetRequest, state.State) (*interrexv1.GetResponse, error) { return nil, nil })
	service := method.ServiceOf(api.Service{Methods: []api.Method{unknown}})
	if err := services.Validate(service); err == nil || err != service.Methods[0].Err {
		t.Errorf("beside the others: %v", err)
	}
	if err := service.Validate(state.FirstEmbedderTable); err == nil || err != service.Methods[0].Err {
		t.Errorf("alone: %v", err)
	}
}

// groupOp returns a group of requests.
func groupOp(t *testing.T, all ...proto.Message) *interrexv1.Operation {
	t.Helper()
	g := &interrexv1.GroupRequest{}
	for _, m := range all {
		packed, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		g.Operations = append(g.Operations, packed)
	}
	body, err := proto.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	return &interrexv1.Operation{Method: 6, Body: body}
}

func TestAGroupIsForOperatorsWhenAPartOfItIs(t *testing.T) {
	nd := cluster(t, 1)[0]
	claim := &interrexv1.ClaimRequest{Key: "a/b", Holder: "ann"}
	force := &interrexv1.RevokeRequest{Key: "a/c", Force: true}
	if _, err := nd.opened(admission.Caller{Name: "ann"}, groupOp(t, claim), time.Now()); err != nil {
		t.Errorf("a claim: %v", err)
	}
	_, err := nd.opened(admission.Caller{Name: "ann"}, groupOp(t, claim, force), time.Now())
	if !errors.Is(err, interrex.ErrDenied) || !strings.Contains(err.Error(), "operation 2: ") {
		t.Errorf("with a revoke by force: %v, want denied", err)
	}
	r, err := nd.opened(admission.Caller{Operator: true}, groupOp(t, claim, force), time.Now())
	if err != nil || len(r.Operation(time.Now(), nil, nil).Group) != 2 || r.Operation(time.Now(), nil, nil).Extend {
		t.Errorf("by an operator: %+v, %v", r, err)
	}
	waits := groupOp(t, claim)
	waits.WaitMs = 1000
	if _, err := nd.opened(admission.Caller{Name: "ann"}, waits, time.Now()); !errors.Is(err, interrex.ErrInvalid) {
		t.Errorf("one that waits: %v, want invalid", err)
	}
}
