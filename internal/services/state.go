package services

import (
	"encoding/json"
	"io"
	"math"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// State returns StateService: the operations of the replicated state itself, and
// proposals to tables without a service.
func State() method.Service {
	return method.Service{Methods: []method.Method{
		method.ReadIndex(),
		method.Write(interrexv1.StateServiceOpenNameProcedure, machine.SystemTable, openName, nameOpened),
		method.Write(interrexv1.StateServiceRetireProcedure, machine.SystemTable, retire, retired),
		method.Privileged("list the request ids of all callers", method.ReadState(interrexv1.StateServiceListRequestsProcedure, listRequests)),
		method.Write(interrexv1.StateServiceDropRequestsProcedure, machine.SystemTable, dropRequests, requestsDropped),
		method.ReadState(interrexv1.StateServiceGetSettingsProcedure, getSettings),
		method.Write(interrexv1.StateServiceSetSettingsProcedure, machine.SystemTable, setSettings, settingsSet),
		method.Write(interrexv1.StateServiceCompareProcedure, machine.SystemTable, compareStates, statesCompared),
		method.Propose(interrexv1.StateServiceProposeProcedure, propose, wasProposed),
		method.Group(),
	}}
}

func retire(m *interrexv1.RetireRequest) (state.Command, error) {
	return &machine.Retire{Name: m.GetName(), Mark: m.GetMark()}, nil
}

func retired(state.Result, state.State) (*interrexv1.RetireResponse, error) {
	return &interrexv1.RetireResponse{}, nil
}

func getSettings(_ *interrexv1.GetSettingsRequest, s *machine.State) (*interrexv1.GetSettingsResponse, error) {
	m := &interrexv1.GetSettingsResponse{Revision: uint64(s.Revision())}
	for _, v := range s.Settings() {
		m.Items = append(m.Items, &interrexv1.Setting{Name: v.Name, Value: v.Value, Default: v.Default, About: v.About})
	}
	return m, nil
}

func setSettings(m *interrexv1.SetSettingsRequest) (state.Command, error) {
	return &machine.SetSettings{Values: m.GetValues()}, nil
}

func settingsSet(r state.Result, _ state.State) (*interrexv1.SetSettingsResponse, error) {
	return &interrexv1.SetSettingsResponse{Revision: uint64(r.Revision)}, nil
}

func compareStates(*interrexv1.CompareRequest) (state.Command, error) { return &machine.Compare{}, nil }

func statesCompared(r state.Result, _ state.State) (*interrexv1.CompareResponse, error) {
	at, is := r.Reply.(machine.ComparedEntry)
	if !is {
		return nil, errReply(r)
	}
	return &interrexv1.CompareResponse{LogIndex: at.Index, Term: at.Term}, nil
}

// propose returns the command of a proposal, only for embedders' tables: it must not
// bypass the checks of interrex's own services.
func propose(m *interrexv1.ProposeRequest, s *machine.State) (state.TableID, state.Command, error) {
	table, err := proposedTo(m.GetTable(), s)
	if err != nil {
		return 0, nil, err
	}
	c, err := s.Decode(table, m.GetData())
	return table, proposed{c}, err
}

func wasProposed(m *interrexv1.ProposeRequest, r state.Result, s *machine.State) (*interrexv1.ProposeResponse, error) {
	answer := &interrexv1.ProposeResponse{Replayed: r.Replayed, Revision: uint64(r.Revision)}
	if reply, is := r.Reply.(*fsm.Reply); is {
		var refused *interrex.Error
		var err error
		if answer.Reply, refused, err = reply.Answer(); refused != nil {
			answer.Refused = wire.Detail(refused)
		}
		return answer, err
	}
	table, err := proposedTo(m.GetTable(), s)
	if err == nil {
		answer.Reply, err = s.AppendReply(nil, table, r.Reply)
	}
	return answer, err
}

// proposedTo returns the table of a proposal; 0 means the agents' own state machine.
func proposedTo(table uint32, s *machine.State) (state.TableID, error) {
	switch {
	case table == 0 && s.Knows(machine.FSMTable):
		return machine.FSMTable, nil
	case table == 0:
		return 0, interrex.Errorf(interrex.ErrInvalid, "table: 0 is the agents' own state machine, and there is none: set agent.Config.FSM")
	case table < uint32(state.FirstEmbedderTable) || table > math.MaxUint16:
		return 0, interrex.Errorf(interrex.ErrInvalid, "table: %d is not an embedder's own table: those are %d to %d", table, state.FirstEmbedderTable, math.MaxUint16)
	}
	return state.TableID(table), nil
}

// Machine returns the service of an embedder's own state machine, which is called
// through StateService/Propose.
func Machine() method.Service {
	return method.Service{Table: machine.FSMTable, Data: func(e *state.Event, _ state.State) ([]byte, error) {
		return json.Marshal(e.Value)
	}}
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

// Validate returns an error if a method of the embedders' services conflicts with
// another one.
func Validate(embedders ...method.Service) error {
	_, err := method.NewRegistry("", nil, method.NewSwitches(), append([]method.Service{State(), Maintenance(), Leases{}.Service(), Resources{}.Service(), Changes{}.Service(), Webhooks{}.Service(), Members{}.Service(), Certificates{}.Service(), Tokens{}.Service()}, embedders...)...)
	return err
}
