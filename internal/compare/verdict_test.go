package compare

import (
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex"
)

// reports reads "a:lease=x,resource=y b:lease.2=x": of each agent the hash of each
// section, which is of version 1 unless it says another.
func reports(text string) map[string]Report {
	all := map[string]Report{}
	for one := range strings.FieldsSeq(text) {
		id, sections, _ := strings.Cut(one, ":")
		r := Report{}
		for section := range strings.SplitSeq(sections, ",") {
			name, hash, _ := strings.Cut(section, "=")
			s := interrex.StateSection{Name: strings.TrimSuffix(name, ".2"), Version: 1, Hash: hash}
			if s.Name != name {
				s.Version = 2
			}
			r.Sections = append(r.Sections, s)
		}
		all[id] = r
	}
	return all
}

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		reports, voters string
		deviants        string // in the only difference; "-": there is no difference
	}{
		"all agree":                        {"a:s=x b:s=x c:s=x", "a b c", "-"},
		"one of three differs":             {"a:s=x b:s=x c:s=y", "a b c", "c"},
		"three of three differ":            {"a:s=x b:s=y c:s=z", "a b c", ""},
		"two agents":                       {"a:s=x b:s=y", "a b", ""},
		"two of four and two":              {"a:s=x b:s=x c:s=y d:s=y", "a b c d", ""},
		"one of four":                      {"a:s=x b:s=x c:s=x d:s=y", "a b c d", "d"},
		"two of five":                      {"a:s=x b:s=y c:s=x d:s=y e:s=x", "a b c d e", "b d"},
		"two of five, each in its way":     {"a:s=x b:s=y c:s=x d:s=z e:s=x", "a b c d e", "b d"},
		"one has no report":                {"a:s=x b:s=y", "a b c", ""},
		"the others of five have none":     {"a:s=x b:s=x c:s=y", "a b c d e", ""},
		"only one reports":                 {"a:s=x", "a b c", "-"},
		"nobody reports":                   {"", "a b c", "-"},
		"one without a vote differs":       {"a:s=x b:s=x n:s=y", "a b", "n"},
		"many without a vote decide not":   {"a:s=x b:s=y n:s=y m:s=y", "a b c", ""},
		"a voter against all without":      {"a:s=x b:s=x c:s=y n:s=y m:s=y", "a b c", "c m n"},
		"a former voter counts not":        {"a:s=x b:s=x c:s=y d:s=y", "a b c", "c d"},
		"a new voter without a report":     {"a:s=x b:s=x c:s=y", "a b c d", ""},
		"another version is not compared":  {"a:s=x b:s=x c:s.2=y", "a b c", "-"},
		"a version of its own is no vote":  {"a:s=x b:s.2=x c:s=y", "a b c", ""},
		"both versions, one of them bad":   {"a:s=x b:s=y c:s.2=z d:s.2=z e:s.2=z", "a b c d e", ""},
		"a section that only one has":      {"a:s=x,t=y b:s=x c:s=x", "a b c", "-"},
		"another section of another agent": {"a:s=x,t=1 b:s=x,t=1 c:s=x,t=2", "a b c", "c"},
		"no voters are known":              {"a:s=x b:s=y", "", ""},
	} {
		var voters []string
		voters = append(voters, strings.Fields(c.voters)...)
		found := Judge(reports(c.reports), voters)
		switch {
		case c.deviants == "-":
			if len(found) != 0 {
				t.Errorf("%s: %v", name, found)
			}
		case len(found) != 1 || !slices.Equal(found[0].Deviants(), strings.Fields(c.deviants)):
			t.Errorf("%s: %v, want deviants %q", name, found, c.deviants)
		}
	}
}

func TestDifferencesAreInTheOrderOfSections(t *testing.T) {
	found := Judge(reports("a:t.2=1,s=x,t=1 b:t=2,s=y,t.2=2 c:s=x,t=1,t.2=1"), []string{"a", "b", "c"})
	if len(found) != 3 || found[0].Section != "s" || found[1].Version != 1 || found[2].Version != 2 {
		t.Errorf("%v", found)
	}
}

func TestADifferenceNamesAgentsAndHashes(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 4)
	voters := []string{"a", "b", "c"}
	if got, want := Judge(reports("a:s="+long+" b:s="+long+" c:s=ff"), voters)[0].String(), "section s, version 1: the hashes are 0123456789abcdef of a, b and ff of c; a majority of the voters has 0123456789abcdef, unlike c"; got != want {
		t.Errorf("%s", got)
	}
	if got, want := Judge(reports("a:s=x b:s=y"), voters[:2])[0].String(), "section s, version 1: the hashes are x of a and y of b; no majority of the voters has one of them"; got != want {
		t.Errorf("%s", got)
	}
}
