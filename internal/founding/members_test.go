package founding

import (
	"testing"

	"github.com/hashicorp/raft"
)

func TestAloneIsTheOnlyVoterItself(t *testing.T) {
	server := func(id string, s raft.ServerSuffrage) raft.Server {
		return raft.Server{ID: raft.ServerID(id), Suffrage: s}
	}
	for name, c := range map[string]struct {
		servers []raft.Server
		want    bool
	}{
		"the only voter":       {[]raft.Server{server("a", raft.Voter)}, true},
		"with others to learn": {[]raft.Server{server("a", raft.Voter), server("b", raft.Nonvoter)}, true},
		"another":              {[]raft.Server{server("b", raft.Voter)}, false},
		"of another's":         {[]raft.Server{server("b", raft.Voter), server("a", raft.Nonvoter)}, false},
		"of two":               {[]raft.Server{server("a", raft.Voter), server("b", raft.Voter)}, false},
		"of none":              {nil, false},
	} {
		if got := OnlyVoter(raft.Configuration{Servers: c.servers}, "a"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
