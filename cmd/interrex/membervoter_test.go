package main

import (
	"strings"
	"testing"

	"github.com/interrex/interrex"
)

// Each word of a cluster is a voter (v), one without a vote (n), or one that is to have
// none (s); the last is promoted.
func TestPromoteSaysWhatTheVoteWaitsFor(t *testing.T) {
	for cluster, want := range map[string]string{
		"v v v":         "",
		"v v n":         "once it has caught up",
		"v v v n":       "together with another agent, or in place of a voter that is dead or demoted: 4 voters tolerate no more failures than 3",
		"v v v s n":     "together with another agent",
		"v v v n n":     "once it has caught up",
		"v v v v n":     "once it has caught up",
		"v v v v v n n": "in place of a voter that is dead or demoted: there are 5 voters, and the leader makes no more than 5",
	} {
		var all []interrex.Member
		for n, what := range strings.Fields(cluster) {
			m := interrex.Member{ID: string(rune('a' + n)), Suffrage: "nonvoter", NonVoter: what == "s"}
			if what == "v" {
				m.Suffrage = "voter"
			}
			all = append(all, m)
		}
		if got := whyNoVote(all[len(all)-1].ID, all); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q, not %q", cluster, got, want)
		}
	}
}
