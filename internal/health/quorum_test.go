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

func TestTheQuorumInWords(t *testing.T) {
	for _, test := range []struct {
		voters, silent int
		want           string
	}{
		{1, 0, "1 voter, this agent: tolerates no failure"},
		{2, 0, "2 voters, 2 responding, tolerates no failure (as 1 voter would; join or promote one more agent to tolerate 1 failure)"},
		{3, 0, "3 voters, 3 responding, tolerates 1 failure"},
		{3, 1, "3 voters, 2 responding, tolerates no failure"},
		{3, 2, "3 voters, 1 responding: quorum lost"},
		{4, 0, "4 voters, 4 responding, tolerates 1 failure (as 3 voters would; join or promote one more agent to tolerate 2 failures)"},
		{4, 1, "4 voters, 3 responding, tolerates no failure"},
		{5, 0, "5 voters, 5 responding, tolerates 2 failures"},
		{6, 0, "6 voters, 6 responding, tolerates 2 failures (as 5 voters would; demote one to write to fewer disks)"},
	} {
		all := []interrex.Member{{ID: "spare", Suffrage: "nonvoter"}}
		for n := range test.voters {
			all = append(all, interrex.Member{ID: string(rune('a' + n)), Suffrage: voter, Silent: n < test.silent})
		}
		if got := quorum(all, true); got != test.want {
			t.Errorf("%d voters, %d silent: %q, not %q", test.voters, test.silent, got, test.want)
		}
	}
}
