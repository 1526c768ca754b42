package api

import (
	"io"
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
		Read(interrexv1.StateServiceGetSettingsProcedure, getSettings),
		Write(interrexv1.StateServiceSetSettingsProcedure, state.OwnTable, setSettings, settingsSet),
		proposeMethod(),
		groupMethod(),
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

func getSettings(_ *interrexv1.GetSettingsRequest, s *state.State) (*interrexv1.GetSettingsResponse, error) {
	m := &interrexv1.GetSettingsResponse{Revision: uint64(s.Revision())}
	for _, v := range s.Settings() {
		m.Items = append(m.Items, &interrexv1.Setting{Name: v.Name, Value: v.Value, Default: v.Default, About: v.About})
	}
	return m, nil
}

func setSettings(m *interrexv1.SetSettingsRequest) (state.Command, error) {
	return &state.SetSettings{Values: m.GetValues()}, nil
}

func settingsSet(r state.Result, _ *state.State) (*interrexv1.SetSettingsResponse, error) {
	return &interrexv1.SetSettingsResponse{Revision: uint64(r.Revision)}, nil
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
	m.answer = func(p *part, r state.Result, s *state.State) (proto.Message, error) {
		reply, err := s.AppendReply(nil, p.table, r.Reply)
		return &interrexv1.ProposeResponse{Reply: reply, Replayed: r.Replayed, Revision: uint64(r.Revision)}, err
	}
	return m
}

// proposed is a command that only operators may propose.
type proposed struct{ state.Command }

// Mint implements state.Minter.
func (p proposed) Mint(random io.Reader) ([]byte, error) {
	if m, is := p.Command.(state.Minter); is {
		return m.Mint(random)
	}
	return nil, nil
}

// Announce implements state.Announcer.
func (p proposed) Announce() state.Announcement {
	if a, is := p.Command.(state.Announcer); is {
		return a.Announce()
	}
	return state.Announcement{}
}

// About implements state.Command.
func (p proposed) About() state.About {
	about := p.Command.About()
	about.Privileged = true
	return about
}
