package member_test

import (
	"testing"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/state"
)

// Of the others each disk is remembered, so that it does not come back.
func TestARecoveryLeavesOneMember(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"n1", "n2", "n3"} {
		w.must(&member.See{ID: id, Incarnation: "disk " + id})
	}
	w.must(&member.SetVoter{ID: "n2"})
	w.must(admit(t, "n4", w.token(1, ""), newKey(t), nil))
	forwards := admit(t, "f1", w.token(1, ""), newKey(t), nil)
	forwards.Forwards = true
	w.must(forwards)
	turn := &state.Turn{Revision: 100, Table: machine.MemberTable}
	w.table.Lock()
	w.table.Recover(turn, "n2")
	w.table.Unlock()
	if all := w.table.Members(); len(all) != 2 || all[0].ID != "f1" || all[1].ID != "n2" || all[1].NonVoter || all[1].Incarnation != "disk n2" {
		t.Errorf("the members are %+v", all)
	}
	for id, removed := range map[string]bool{"n1": true, "n2": false, "n3": true} {
		if w.table.Removed(id, "disk "+id) != removed {
			t.Errorf("%s is removed: %t", id, !removed)
		}
	}
	if turn.Revision != 104 || len(turn.Events()) != 4 {
		t.Errorf("revision %d, events %v", turn.Revision, turn.Events())
	}
	w.must(admit(t, "n1", w.token(1, ""), newKey(t), nil)) // as another agent
}
