package interrex_test

import (
	"testing"

	"github.com/interrex/interrex"
)

func TestStatesHaveNames(t *testing.T) {
	for state, want := range map[interrex.AgentState]string{
		interrex.Follower: "follower", interrex.Candidate: "candidate", interrex.Leader: "leader", interrex.Standalone: "standalone",
		interrex.Stopping: "stopping", interrex.Stopped: "stopped", interrex.Waiting: "waiting", interrex.Forwarding: "forwarding", 8: "AgentState(8)", -1: "AgentState(-1)",
	} {
		if got := state.String(); got != want {
			t.Errorf("state %d is %q, want %q", int(state), got, want)
		}
	}
}
