package health

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
)

func TestAVoterLeavesAQuorumBehind(t *testing.T) {
	n := func(id string, silent bool) interrex.Member {
		return interrex.Member{ID: id, Suffrage: voter, Silent: silent}
	}
	spare := interrex.Member{ID: "s", Suffrage: "nonvoter"}
	for name, test := range map[string]struct {
		members       []interrex.Member
		leaves, says  string // says empty: it may
		forced, never bool
	}{
		"of three":                       {members: []interrex.Member{n("a", false), n("b", false), n("c", false)}, leaves: "a"},
		"of three, one silent":           {members: []interrex.Member{n("a", false), n("b", false), n("c", true)}, leaves: "a", says: "without a there is no quorum"},
		"of three, one silent, forced":   {members: []interrex.Member{n("a", false), n("b", false), n("c", true)}, leaves: "a", forced: true},
		"the silent one":                 {members: []interrex.Member{n("a", false), n("b", false), n("c", true)}, leaves: "c"},
		"one without a vote":             {members: []interrex.Member{n("a", false), n("b", true), spare}, leaves: "s"},
		"the last voter":                 {members: []interrex.Member{n("a", false), spare}, leaves: "a", says: "the last voter"},
		"the last voter, forced":         {members: []interrex.Member{n("a", false), spare}, leaves: "a", forced: true, says: "the last voter"},
		"of four, two of the rest alive": {members: []interrex.Member{n("a", false), n("b", false), n("c", false), n("d", true)}, leaves: "a"},
	} {
		err := MayLeave(test.leaves, test.members, test.forced)
		if (err == nil) != (test.says == "") || err != nil && (!strings.Contains(err.Error(), test.says) || interrex.KindOf(err) != interrex.ErrConflict) {
			t.Errorf("%s: %v, want %q", name, err, test.says)
		}
	}
}
