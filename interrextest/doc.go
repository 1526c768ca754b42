// Package interrextest owns the test kit for programs that embed agents or
// speak to them: one agent in memory, and a cluster on loopback that can be
// stopped, killed, and cut apart one way.
//
//	func TestReconcilerRunsOnOneAgent(t *testing.T) {
//		a := interrextest.New(t)
//		held, err := a.Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
//		...
//	}
//
// Everything that is started here has ended when the test has.
package interrextest
