package manifolds

import "testing"

func TestAgentIsReadyOnlyWhenItHasCaughtUp(t *testing.T) {
	for _, c := range []struct {
		name                       string
		committed, handed, applied uint64
		idle, ready                bool
	}{
		{"its leader has sent nothing since it was started", 0, 0, 0, true, false},
		{"its leader has sent nothing since raft was restarted", 0, 5000, 5000, true, false},
		{"raft has not got it", 5000, 4999, 4999, true, false},
		{"raft has it, and the state will have it", 5000, 5000, 4999, false, false},
		{"the last entry was raft's own", 5000, 5000, 4999, true, true},
		{"as of a second ago", 5000, 5400, 5200, false, true},
		{"there", 5000, 5000, 5000, true, true},
	} {
		if err := lag(c.committed, c.handed, c.applied, c.idle); (err == nil) != c.ready {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
