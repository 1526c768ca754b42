package assembly

import (
	"slices"
	"testing"

	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex/internal/apiserver"
)

func TestTheReportTellsOffersFromUses(t *testing.T) {
	s, err := New(Config{Prefix: DefaultPrefix})
	if err != nil {
		t.Fatal(err)
	}
	workers := s.Report(s.Lives.WithoutEngine(s.inputs))[dependency.KeyManifolds].(map[string]any)
	raft, server := workers[RaftName].(map[string]any), workers[apiName].(map[string]any)
	if offers := raft[apiserver.KeyOffers].([]string); !slices.Equal(offers, []string{raftSlotName}) {
		t.Errorf("raft offers %q", offers)
	}
	if uses := server[apiserver.KeyUses].([]string); !slices.Contains(uses, raftSlotName) || slices.Contains(uses, StateName) {
		t.Errorf("the API uses %q", uses)
	}
}

// Every slot has one that offers, and each line names workers of the graph.
func TestEachSlotIsFilledByOneWorker(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	offered := map[string]int{}
	for name, n := range s.nodes {
		for _, input := range slices.Concat(n.Inputs, n.Visits, n.Uses, n.Offers) {
			if _, is := s.nodes[input]; !is {
				t.Errorf("%s needs %s, which is not in the graph", name, input)
			}
		}
		for _, slot := range n.Offers {
			offered[slot]++
		}
	}
	for _, n := range s.nodes {
		for _, slot := range n.Uses {
			want := 1
			if slot == switchesName {
				want = len(features()) // each moves its own
			}
			if offered[slot] != want {
				t.Errorf("%s is offered by %d workers", slot, offered[slot])
			}
		}
	}
}
