package api

import (
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/state"
)

// stateService is StateService: the operations of the replicated state itself,
// and the way to tables that have no service.
func stateService() Service {
	return Service{Methods: []Method{
		indexMethod(),
		Write(interrexv1.StateServiceRetireProcedure, state.OwnTable, retire, retired),
		proposeMethod(),
	}}
}

func indexMethod() Method {
	m := newMethod[interrexv1.ReadIndexRequest, interrexv1.ReadIndexResponse](interrexv1.StateServiceReadIndexProcedure)
	m.index = func(index uint64) proto.Message { return &interrexv1.ReadIndexResponse{LogIndex: index} }
	return m
}

func retire(m *interrexv1.RetireRequest) (state.Command, error) {
	return &state.Retire{Name: m.GetName()}, nil
}

func retired(state.Result, *state.State) (*interrexv1.RetireResponse, error) {
	return &interrexv1.RetireResponse{}, nil
}

// proposeMethod is for embedders' own tables only: it must not bypass what the
// services of interrex's tables check.
func proposeMethod() Method {
	m := newMethod[interrexv1.ProposeRequest, interrexv1.ProposeResponse](interrexv1.StateServiceProposeProcedure)
	m.command = func(q proto.Message, s *state.State) (state.TableID, state.Command, error) {
		p := q.(*interrexv1.ProposeRequest)
		table := state.TableID(p.GetTable())
		if p.GetTable() != uint32(table) || table < state.FirstOwnTable {
			return 0, nil, interrex.Errorf(interrex.KindInvalid, "table: %d is no embedder's own: those have %d to %d", p.GetTable(), state.FirstOwnTable, math.MaxUint16)
		}
		c, err := s.Decode(table, p.GetData())
		return table, proposed{c}, err
	}
	m.answer = func(q *request, r state.Result, s *state.State) (proto.Message, error) {
		reply, err := s.AppendReply(nil, q.op.Table, r.Reply)
		return &interrexv1.ProposeResponse{Reply: reply, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
	}
	return m
}

// proposed is a command that only operators may propose.
type proposed struct{ state.Command }

// About implements state.Command.
func (p proposed) About() state.About {
	about := p.Command.About()
	about.Privileged = true
	return about
}
