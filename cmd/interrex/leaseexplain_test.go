package main

import (
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
)

func explained(voters int, ttl time.Duration) *explanation {
	m := &interrexv1.StatusResponse{Id: "n1", Members: []*interrexv1.MemberStatus{{Suffrage: "nonvoter"}}}
	for range voters {
		m.Members = append(m.Members, &interrexv1.MemberStatus{Suffrage: "voter"})
	}
	return newExplanation(m, "wan", config.Raft{HeartbeatTimeout: time.Second, ElectionTimeout: 1500 * time.Millisecond}, ttl)
}

func TestThePartsOfAFailOverAddUp(t *testing.T) {
	e := explained(3, 15*time.Second)
	if got, want := time.Duration(e.FailOver), 3*time.Second+2*1500*time.Millisecond+200*time.Millisecond+160*time.Millisecond; got != want || e.Voters != 3 {
		t.Errorf("%s with %d voters, not %s with 3", got, e.Voters, want)
	}
	text, err := jsonOf(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"part":"detection","most":"3.000s"`, `"fail_over":"6.360s"`, `"ttl":"15.000s"`, `"context_ends":"13.500s"`, `"next_holder_latest":"22.860s"`, `"kept":false`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not contain %s", text, want)
		}
	}
}

func TestATTLThatDoesNotLastThroughAFailOver(t *testing.T) {
	if l := explained(3, 15*time.Second).Lease; l.Kept || time.Duration(l.LeastTTL) != 19080*time.Millisecond {
		t.Errorf("%+v", l)
	}
	if l := explained(3, 20*time.Second).Lease; !l.Kept {
		t.Errorf("%+v", l)
	}
}

func TestAnAgentThatKnowsNoVoterSaysSo(t *testing.T) {
	if row := explained(0, 15*time.Second).table().rows[0]; row[1] != "unknown" || !strings.Contains(row[2], "ask a member") {
		t.Errorf("%q", row)
	}
}

func TestWithoutAThirdVoterThereIsNoFailOver(t *testing.T) {
	for _, voters := range []int{1, 2} {
		e := explained(voters, 15*time.Second)
		if len(e.Parts) > 0 || e.FailOver > 0 || !strings.Contains(e.table().rows[0][2], "nothing is granted") {
			t.Errorf("%d voters: %+v", voters, e)
		}
	}
}
