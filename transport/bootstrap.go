package transport

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Decide tells an agent that has an empty log whether to write the first
// configuration of a new cluster of n, and with which IDs, sorted. It does so
// when n agents, itself among them, all say that they know exactly these n and
// expect n. While it must wait, or when one that was met is in a cluster
// already, ok is false with no error; an error says why it will never do so as
// things stand.
//
// self is the agent's own hello with those that it has met, as Transport.Self
// gives it; met are the hellos of the others, as Transport.Peers does.
func Decide(self Hello, met []Hello, n int) (ids []string, ok bool, err error) {
	all := append([]Hello{self}, met...)
	slices.SortFunc(all, func(a, b Hello) int { return cmp.Compare(a.ID, b.ID) })
	if n < 1 || slices.ContainsFunc(all, func(h Hello) bool { return h.ClusterID != "" }) {
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

// knows reports whether what h has met, and itself, is exactly set.
func knows(h Hello, set map[string]string, n int) (bool, error) {
	ids := []string{h.ID}
	same := len(h.Met)+1 == len(set)
	for _, m := range h.Met {
		ids = append(ids, m.ID)
		same = same && m.ID != h.ID && set[m.ID] == m.Incarnation
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) > n {
		return false, tooMany(n, ids)
	}
	return same && len(ids) == len(set), nil
}

func tooMany(n int, ids []string) error {
	return fmt.Errorf("cannot bootstrap: %d agents are expected and %d are here (%s); stop those that do not belong, then start the others again",
		n, len(ids), strings.Join(ids, ", "))
}
