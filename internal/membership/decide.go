package membership

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/interrex/interrex/internal/peering"
)

// Decide reports whether an agent that has an empty log is to write the first
// configuration of a new cluster of n, and returns its IDs, sorted. It is when n
// agents, itself among them, all say that they know exactly these n and expect n.
// While it must wait, or when an agent that was met is already in a cluster, ok is
// false with no error; an error is a conflict that does not resolve by waiting.
//
// self is the agent's own hello, as returned by Transport.Self; met are the hellos
// of the others, as returned by Transport.Peers.
func Decide(self peering.Hello, met []peering.Hello, n int) (ids []string, ok bool, err error) {
	all := append([]peering.Hello{self}, met...)
	slices.SortFunc(all, func(a, b peering.Hello) int { return cmp.Compare(a.ID, b.ID) })
	if n < 1 || slices.ContainsFunc(all, func(h peering.Hello) bool { return h.ClusterID != "" }) {
		return nil, false, nil
	}
	set := map[string]string{} // incarnations by ID
	for _, h := range all {
		set[h.ID] = h.Incarnation
		ids = append(ids, h.ID)
	}
	if len(set) > n {
		return nil, false, tooMany(n, ids)
	}
	for _, h := range all {
		if h.Expect != n {
			return nil, false, fmt.Errorf("cannot bootstrap: %s expects %d agents and %s expects %d; make bootstrap-expect equal", self.ID, n, h.ID, h.Expect)
		}
	}
	agreed := len(set) == n
	for _, h := range all {
		same, err := knows(h, set, n)
		if err != nil {
			return nil, false, err
		}
		agreed = agreed && same
	}
	if !agreed {
		return nil, false, nil
	}
	return ids, true, nil
}

// knows reports whether the agents that h has met, and itself, are exactly set.
func knows(h peering.Hello, set map[string]string, n int) (bool, error) {
	ids := []string{h.ID}
	same := len(h.Met)+1 == len(set)
	for _, m := range h.Met {
		ids = append(ids, m.ID)
		same = same && set[m.ID] == m.Incarnation
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) > n {
		return false, tooMany(n, ids)
	}
	return same && len(ids) == len(set), nil
}

func tooMany(n int, ids []string) error {
	return fmt.Errorf("cannot bootstrap: %d agents are expected and %d are present (%s); stop those that do not belong, then restart the others",
		n, len(ids), strings.Join(ids, ", "))
}
