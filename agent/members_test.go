package agent_test

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

func TestAnyAgentShowsItsClustersMembersAndMovesLeadership(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	for end := time.Now().Add(interrextest.Patience); ; time.Sleep(20 * time.Millisecond) { // a poll
		all, _, err := c.Agent(2).Members().List(t.Context(), interrex.ReadOptions{})
		if err == nil && len(all) == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the members are %v (%v)", all, err)
		}
	}
	to := c.Agent((c.Leader() + 1) % 3)
	for end := time.Now().Add(interrextest.Patience); ; {
		now, err := c.Agent(2).Members().TransferLeader(t.Context(), to.ID())
		if err == nil && now.LeaderID == to.ID() || interrex.KindOf(err) == interrex.ErrConflict { // it leads
			break
		}
		if time.Now().After(end) {
			t.Fatalf("leadership is with %s (%v)", now.LeaderID, err)
		}
	}
}
