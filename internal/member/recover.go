package member

import "github.com/interrex/interrex/state"

// Recover removes every member but the survivor, which has a vote from now on. The
// others do not come back with the data that they had. Agents without raft have none, and
// stay.
func (t *Table) Recover(turn *state.Turn, survivor string) {
	for _, m := range t.Members() {
		switch {
		case m.Forwards:
		case m.ID != survivor:
			turn.Next()
			t.remove(turn, m.ID)
		case m.NonVoter:
			turn.Next()
			(&SetVoter{ID: m.ID, Voter: true}).apply(t, turn)
		}
	}
}
