package counters_test

import (
	"testing"

	"go.uber.org/goleak"
)

// raft never answers what it applies while it shuts down (hashicorp/raft#145), so
// a goroutine that waits for that stays.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*deferError).Error"),
		// From an interrupted leadership transfer (hashicorp/raft#696).
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leadershipTransfer"),
		goleak.IgnoreTopFunction("github.com/hashicorp/raft.(*Raft).leaderLoop.func2"))
}
