package services

import (
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

func TestAWatchOfAKeyIsOfTheTableOfLeases(t *testing.T) {
	key := interrex.Key{Namespace: "jobs", Name: "one"}
	match := matcher(interrex.WatchRequest{Key: key})
	for _, e := range []struct {
		of   state.Event
		want bool
	}{
		{state.Event{Table: machine.LeaseTable, Key: key.String()}, true},
		{state.Event{Table: machine.LeaseTable, Key: "jobs/two"}, false},
		{state.Event{Table: machine.LeaseTable + 1, Key: key.String()}, false},
	} {
		if got := match(&e.of); got != e.want {
			t.Errorf("%+v: %v", e.of, got)
		}
	}
}

func emptyState(t *testing.T) state.State {
	t.Helper()
	st, err := machine.New(machine.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(st.Close)
	return st
}

func TestALeaseSaysHowManyWaitWhereTheAgentKnows(t *testing.T) {
	st := emptyState(t)
	for _, known := range []bool{true, false} {
		l := Leases{}
		l.Waiting = func(interrex.Key) (int, bool) { return 0, known }
		if n := l.present(lease.Record{Key: interrex.Key{Namespace: "a", Name: "b"}}, st).Waiting; (n != nil) != known {
			t.Errorf("known is %v: %v", known, n)
		}
	}
}

func TestALeaseThatHasEndedIsNotInTheAnswer(t *testing.T) {
	st := emptyState(t)
	for _, ended := range []bool{false, true} {
		held, err := Leases{}.after(state.Result{Reply: &lease.Reply{Lease: lease.Record{Key: interrex.Key{Namespace: "a", Name: "b"}}, Ended: ended}}, st)
		if err != nil || (held == nil) != ended {
			t.Errorf("ended is %v: %v, %v", ended, held, err)
		}
	}
}
