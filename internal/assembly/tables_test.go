package assembly

import (
	"strings"
	"testing"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/examples/counters"
	"github.com/interrex/interrex/examples/counters/gen/countersv1"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/state"
)

// tablesThatDoNotFit are tables of an embedder's, by a word of what is said.
var tablesThatDoNotFit = map[string][]func() (state.Table, api.Service){
	"number 0 is nil":           {nil},
	"nil Table":                 {func() (state.Table, api.Service) { return nil, api.Service{} }},
	"begin at 256":              {func() (state.Table, api.Service) { return testtable.NewRegisterAs(255), api.Service{} }},
	"its ID 256 is in use":      {counters.Table, func() (state.Table, api.Service) { return testtable.NewRegister(), api.Service{} }},
	"its number 65537 is that":  {counters.Table, func() (state.Table, api.Service) { return testtable.NewRegisterAs(257), served() }},
	"this table's are 65792 to": {func() (state.Table, api.Service) { return testtable.NewRegisterAs(257), served() }},
	"nothing serves it": {func() (state.Table, api.Service) {
		t, s := counters.Table()
		s.Methods = s.Methods[1:]
		return t, s
	}},
	"method /counters.v1.CounterService/Watch is declared in its .proto, and nothing serves it": {func() (state.Table, api.Service) {
		t, s := counters.Table()
		s.Watches = nil
		return t, s
	}},
	"does not declare it as a watch": {func() (state.Table, api.Service) {
		t, s := counters.Table()
		s.Watches[0] = watches[countersv1.GetResponse, countersv1.GetRequest, countersv1.CounterEvent](countersv1.CounterServiceGetProcedure)
		return t, s
	}},
	"lacks the field 'repeated Counter events = 1'": {func() (state.Table, api.Service) {
		t, s := counters.Table()
		s.Watches[0] = watches[countersv1.WatchResponse, countersv1.WatchRequest, countersv1.Counter](countersv1.CounterServiceWatchProcedure)
		return t, s
	}},
	"writes to table 300, but is declared by table 256": {func() (state.Table, api.Service) {
		t, s := counters.Table()
		s.Methods[0] = increment[countersv1.IncrementRequest, countersv1.IncrementResponse](300)
		return t, s
	}},
	"takes counters.v1.IncrementRequest": {func() (state.Table, api.Service) {
		t, s := counters.Table()
		s.Methods[0] = increment[countersv1.SetRequest, countersv1.IncrementResponse](256)
		return t, s
	}},
	"its number 257 is that of": {func() (state.Table, api.Service) { return testtable.NewRegister(), ours() }},
}

// increment is CounterService/Increment of messages and a table that may not fit.
func increment[Q, A any, PQ wire.Message[Q], PA wire.Message[A]](table state.TableID) api.Method {
	return api.Write(countersv1.CounterServiceIncrementProcedure, table,
		func(PQ) (state.Command, error) { return nil, nil }, func(state.Result, state.State) (PA, error) { return nil, nil })
}

// watches is a watch of messages that may not fit.
func watches[A, Q, E any, PA wire.Message[A], PQ wire.Message[Q], PE wire.Message[E]](procedure string) api.WatchMethod {
	return api.Watch[A, Q, E, PA](procedure,
		func(PQ, state.State) (api.Feed[PE], error) { return api.Feed[PE]{}, nil },
		func(*state.Event, state.State) (PE, error) { return nil, nil })
}

// served is the service of counters.
func served() api.Service {
	_, s := counters.Table()
	return s
}

// ours is a service that interrex has itself.
func ours() api.Service {
	return api.Service{Methods: []api.Method{api.Write(interrexv1.LeaseServiceClaimProcedure, machine.LeaseTable,
		func(*interrexv1.ClaimRequest) (state.Command, error) { return nil, nil },
		func(state.Result, state.State) (*interrexv1.ClaimResponse, error) { return nil, nil })}}
}

// named is a table of an embedder's with a name.
type named struct {
	*testtable.Register
	name string
}

func (n named) Name() string { return n.name }

func TestATableWithTheNameOfOneOfInterrexIsRefused(t *testing.T) {
	for _, own := range append(OwnTables(), new(fsm.Table)) {
		mine := func() (state.Table, api.Service) { return named{testtable.NewRegister(), own.Name()}, api.Service{} }
		err := AgentConfig{Tables: []func() (state.Table, api.Service){mine}}.Validate()
		if err == nil || !strings.Contains(err.Error(), `tables: table 256: its name "`+own.Name()+`" is in use`) {
			t.Errorf("%s: %v", own.Name(), err)
		}
	}
}

func TestTablesThatDoNotFitAreRefused(t *testing.T) {
	for word, tables := range tablesThatDoNotFit {
		err := AgentConfig{Tables: tables}.Validate()
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v", word, err)
		}
	}
	fit := []func() (state.Table, api.Service){counters.Table, func() (state.Table, api.Service) { return testtable.NewRegisterAs(257), api.Service{} }}
	if err := (AgentConfig{Tables: fit}).Validate(); err != nil {
		t.Error(err)
	}
}
