package compare

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
)

// Difference is a section in which agents differ that have it in the same version.
type Difference struct {
	Section string
	Version uint16
	// Agents are those with each hash, in the order of the hashes and IDs.
	Agents map[string][]string
	// Agreed is the hash that a majority of the voters has; empty: no hash has one.
	Agreed string
}

// Judge compares the reports of agents, which are by ID. Only a majority of the voters
// says which hash is right: reports of others count for nothing but themselves, and a
// voter without a report is in no majority. The differences are in the order of sections.
func Judge(reports map[string]Report, voters []string) []Difference {
	type place struct {
		section string
		version uint16
	}
	found := map[place]*Difference{}
	for _, id := range slices.Sorted(maps.Keys(reports)) {
		for _, s := range reports[id].Sections {
			at := place{s.Name, s.Version}
			if found[at] == nil {
				found[at] = &Difference{Section: s.Name, Version: s.Version, Agents: map[string][]string{}}
			}
			found[at].Agents[s.Hash] = append(found[at].Agents[s.Hash], id)
		}
	}
	var all []Difference
	for _, d := range found {
		if len(d.Agents) > 1 {
			d.Agreed = majority(d.Agents, voters)
			all = append(all, *d)
		}
	}
	slices.SortFunc(all, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.Section, b.Section), cmp.Compare(a.Version, b.Version))
	})
	return all
}

// majority returns the hash that more than half of the voters have.
func majority(agents map[string][]string, voters []string) string {
	for hash, ids := range agents {
		n := 0
		for _, id := range ids {
			if slices.Contains(voters, id) {
				n++
			}
		}
		if 2*n > len(voters) {
			return hash
		}
	}
	return ""
}

// Deviants returns the agents that differ from the majority; none if there is no majority.
func (d Difference) Deviants() (ids []string) {
	if d.Agreed == "" {
		return nil
	}
	for hash, having := range d.Agents {
		if hash != d.Agreed {
			ids = append(ids, having...)
		}
	}
	slices.Sort(ids)
	return ids
}

// String says which agents have which hash.
func (d Difference) String() string {
	var groups []string
	for _, hash := range slices.Sorted(maps.Keys(d.Agents)) {
		groups = append(groups, fmt.Sprintf("%s of %s", Short(hash), strings.Join(d.Agents[hash], ", ")))
	}
	text := fmt.Sprintf("section %s, version %d: the hashes are %s", d.Section, d.Version, strings.Join(groups, " and "))
	if who := d.Deviants(); len(who) > 0 {
		return text + fmt.Sprintf("; a majority of the voters has %s, unlike %s", Short(d.Agreed), strings.Join(who, ", "))
	}
	return text + "; no majority of the voters has one of them"
}

// comparison describes the reports on an entry, and the differences between them.
func comparison(at machine.ComparedEntry, reports map[string]Report, found []Difference) *interrex.Comparison {
	c := &interrex.Comparison{LogIndex: at.Index, Term: at.Term, Reports: map[string][]interrex.StateSection{}}
	for id, r := range reports {
		c.Reports[id] = r.Sections
	}
	for _, d := range found {
		c.Differences = append(c.Differences, d.String())
	}
	return c
}
