package founding

import (
	"slices"

	"github.com/hashicorp/raft"
)

// Members returns a configuration of voters, each with its ID as its address. It is
// sorted, so that agents that decide on the same IDs write the same bytes.
func Members(ids ...string) raft.Configuration {
	var c raft.Configuration
	for _, id := range slices.Sorted(slices.Values(ids)) {
		c.Servers = append(c.Servers, raft.Server{
			Suffrage: raft.Voter, ID: raft.ServerID(id), Address: raft.ServerAddress(id),
		})
	}
	return c
}

// OnlyVoter reports whether an agent is the only voter among the members.
func OnlyVoter(c raft.Configuration, id raft.ServerID) bool {
	voters, mine := 0, false
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			voters++
			mine = mine || s.ID == id
		}
	}
	return voters == 1 && mine
}
