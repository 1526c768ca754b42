package agent_test

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/interrextest"
)

func TestAnyAgentShowsItsClustersMembersAndMovesLeadership(t *testing.T) {
	c := interrextest.NewCluster(t, 3)
	eventually(t, "there are three members", func() bool { return len(members(t, c.Agent(2))) == 3 })
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
