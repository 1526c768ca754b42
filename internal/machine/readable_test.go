package machine_test

import (
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// What another build may have written is found out without applying it; an embedder's
// tables need not be there.
func TestWhatABuildCannotApplyIsFoundOutBeforehand(t *testing.T) {
	s := testreplica.New(t, func() []state.Table { return []state.Table{numbered{testtable.NewRegister()}} }).State
	entry := func(ops ...state.Operation) []byte { return (&machine.Entry{Operations: ops}).Append(nil) }
	own, foreign := set("a", "1"), state.Operation{Table: 300, Data: []byte{9}}
	later := state.Operation{Table: testtable.RegisterTable, Data: []byte{3, 'a'}}
	group := func(of ...state.Operation) (g state.Operation) {
		for _, o := range of {
			g.Group = append(g.Group, state.Part{Table: o.Table, Data: o.Data})
		}
		return g
	}
	newer := entry(own)
	newer[0] = machine.EntryVersion + 1
	for _, c := range []struct {
		entry []byte
		want  string
	}{
		{entry(own, foreign, group(own, foreign), group(foreign)), ""},
		{entry(foreign, later), "unknown command of the table"},
		{entry(group(foreign, later)), "unknown command of the table"},
		{entry(state.Operation{Table: 9}), "unknown table 9"},
		{entry(state.Operation{Data: []byte{1, 99}}), "unknown command of the state itself"},
		{newer, "unknown version"},
	} {
		err := s.Readable(c.entry)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%x: %v, want %q", c.entry, err, c.want)
		}
	}
	if s.Revision() != 0 {
		t.Error("it was applied")
	}
}
