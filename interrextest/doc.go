// Package interrextest owns the test kit for programs that embed agents or
// speak to them: one agent in memory, a cluster on loopback whose agents can be
// stopped, killed, crashed and cut apart, also one way, and a check of one's own
// state machine.
//
//	func TestReconcilerRunsOnOneAgent(t *testing.T) {
//		a := interrextest.New(t)
//		held, err := a.Leases().Hold(t.Context(), "mine/leader", interrex.HoldOptions{})
//		...
//	}
//
// Everything that is started here has ended when the test has.
package interrextest
