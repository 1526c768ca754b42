package manifolds

import "testing"

func TestAgentIsReadyOnlyWhenItHasCaughtUp(t *testing.T) {
	for _, c := range []struct {
		name               string
		committed, applied uint64
		ready              bool
	}{
		{"its leader has sent nothing since it was started", 0, 0, false},
		{"its leader has sent nothing since raft was restarted", 0, 5000, false},
		{"a long way behind", 5000, 5000 - maxBehind - 1, false},
		{"as far behind as a busy follower", 5000, 5000 - maxBehind, true},
		{"there", 5000, 5000, true},
		{"ahead, because raft was restarted", 4000, 5000, true},
	} {
		if err := behind(c.committed, c.applied); (err == nil) != c.ready {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
