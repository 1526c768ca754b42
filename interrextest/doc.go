// Package interrextest owns the test kit for programs that embed agents or talk
// to them: one agent in memory, a cluster on loopback whose agents can be
// stopped, killed, crashed and partitioned, also in one direction, and a check of
// your own state machine.
//
//	func TestReconcilerRunsOnOneAgent(t *testing.T) {
//		a := interrextest.New(t)
//		held, err := a.Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
//		...
//	}
//
// A cluster may run on virtual time, within a bubble of testing/synctest: an hour
// of leases, cuts, crashes and restarts takes a few seconds.
//
//	synctest.Test(t, func(t *testing.T) {
//		c := interrextest.StartCluster(t, interrextest.ClusterConfig{Virtual: true})
//		c.Crash(c.Leader())
//		time.Sleep(time.Hour)
//		...
//	})
//
// Everything that is started here is stopped at the end of the test.
package interrextest
