package api

import "testing"

func TestStatesAndModesHaveNames(t *testing.T) {
	for state, want := range map[State]string{
		Follower: "follower", Candidate: "candidate", Leader: "leader", Standalone: "standalone",
		Stopping: "stopping", Stopped: "stopped", Waiting: "waiting", 7: "State(7)", -1: "State(-1)",
	} {
		if got := state.String(); got != want {
			t.Errorf("state %d is %q, want %q", int(state), got, want)
		}
	}
	for mode, want := range map[MembershipChangeMode]string{
		Stable: "stable", ProposedJointConsensus: "proposed_joint_consensus", ProposedFinalConsensus: "proposed_final_consensus",
		3: "MembershipChangeMode(3)", -1: "MembershipChangeMode(-1)",
	} {
		if got := mode.String(); got != want {
			t.Errorf("mode %d is %q, want %q", int(mode), got, want)
		}
	}
}
