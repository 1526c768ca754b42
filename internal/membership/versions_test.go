package membership

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/peering"
)

// A leader writes the newest version of entries that every member has said it knows.
func TestEntriesAreOfAVersionThatAllMembersKnow(t *testing.T) {
	said := map[string]peering.Hello{
		"b": {Entries: machine.EntryVersion}, "later": {Entries: machine.EntryVersion + 1},
		"former": {Entries: machine.EntryVersion - 1}, "silent": {}, // of a build that did not say it
	}
	peer := func(id string) (peering.Hello, bool) { h, met := said[id]; return h, met }
	for _, c := range []struct {
		others []string
		want   byte
	}{
		{nil, machine.EntryVersion},
		{[]string{"b", "later"}, machine.EntryVersion},
		{[]string{"b", "former"}, machine.EntryVersion - 1},
		{[]string{"former", "later"}, machine.EntryVersion - 1},
		{[]string{"b", "silent"}, machine.OldestEntry},
		{[]string{"b", "never met"}, machine.OldestEntry},
	} {
		members := []raft.Server{{ID: "a"}}
		for _, id := range c.others {
			members = append(members, raft.Server{ID: raft.ServerID(id)})
		}
		if got := EntryVersion(members, "a", peer); got != c.want {
			t.Errorf("with %q it is %d, want %d", c.others, got, c.want)
		}
	}
}
