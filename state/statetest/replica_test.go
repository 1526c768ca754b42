package statetest_test

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestAReplicaGoesOnAfterARestart(t *testing.T) {
	var table *testtable.Register
	r := statetest.NewReplica(t, func() []state.Table {
		table = testtable.NewRegister()
		return []state.Table{table}
	})
	set := func(at state.Time, text string) interrex.Revision {
		t.Helper()
		results := r.Do(at, state.Operation{Table: table.ID(), Data: testtable.Set("a/b", text, time.Hour)})
		if len(results) != 1 || results[0].Err != nil {
			t.Fatalf("%+v, halted: %v", results, r.Halted())
		}
		return results[0].Revision
	}
	first, before := set(1, "one"), table
	r.Restart()
	if table == before || r.State().Revision() != first || r.State().Now() != 1 {
		t.Fatalf("revision %d at %d after a restart, in another table: %v", r.State().Revision(), r.State().Now(), table != before)
	}
	if v, there := table.Get("a/b"); !there || v.Text != "one" {
		t.Errorf("%+v, %v", v, there)
	}
	if second := set(2, "two"); second <= first || len(r.Events()) != 2 || r.Halted() != nil {
		t.Errorf("revision %d after %d, events %+v, halted: %v", second, first, r.Events(), r.Halted())
	}
}
