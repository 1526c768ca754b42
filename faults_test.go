package interrex_test

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cited finds the tests that a row of a table names.
var cited = regexp.MustCompile("`([\\w/.-]+)_test\\.go:((?:Test|Fuzz)\\w+)`")

// TestEveryRowThatNamesATestHasItsFault: a row is shown if one of its tests
// notices a fault.
func TestEveryRowThatNamesATestHasItsFault(t *testing.T) {
	must := map[string]bool{} // tests with a fault, with their folder
	for block := range strings.SplitSeq(readText(t, "tools/mutate/faults.txt"), "\n\n") {
		for line := range strings.Lines(block) {
			if test, is := strings.CutPrefix(line, "test: "); is {
				folder, name, _ := strings.Cut(strings.TrimSpace(test), " ")
				name, _, _ = strings.Cut(name, "/")
				must[folder+" "+name] = true
			}
		}
	}
	rows := 0
	for _, file := range []string{"docs/seeds.md", "docs/decisions/why-not-as-juju.md"} {
		for row := range strings.Lines(readText(t, file)) {
			tests := cited.FindAllStringSubmatch(row, -1)
			if !strings.HasPrefix(row, "| ") || len(tests) == 0 {
				continue
			}
			rows++
			shown := false
			for _, m := range tests {
				shown = shown || must[path.Dir(m[1])+" "+m[2]]
			}
			if !shown {
				t.Errorf("%s: no fault for any test of %s", file, strings.Join(strings.Split(row, "|")[1:3], "|"))
			}
		}
	}
	if rows < 250 {
		t.Errorf("%d rows name a test: the pattern does not find them", rows)
	}
}

// ruled finds what a fault breaks of docs/semantics.md: a heading, and words that
// stand below it.
var ruled = regexp.MustCompile(`semantics ([^"]+) "([^"]+)"`)

// noRule is how those parts of docs/semantics.md begin that promise nothing which a
// test could notice: they name things, lead over, or say what is not promised.
var noRule = []string{
	"This page is the contract for users.",
	"A lease gives one holder exclusive hold of one key",
	"A holder has three guarantees,",
	"The deadline is best effort.",
	"What only the token protects against:",
	"The holder's own deadline is not extended.",
	"Not detected:",
	"Operations of the lost part are undone",
}

// TestEveryRuleOfTheContractHasItsFault: each paragraph, item and row of
// docs/semantics.md is cited by a fault that its test notices.
func TestEveryRuleOfTheContractHasItsFault(t *testing.T) {
	parts := contract(t)
	broken := map[rulePart]bool{}
	for line := range strings.Lines(readText(t, "tools/mutate/faults.txt")) {
		rule, is := strings.CutPrefix(line, "rule: ")
		if !is {
			continue
		}
		found := ruled.FindAllStringSubmatch(rule, -1)
		if len(found) != strings.Count(rule, "semantics ") {
			t.Errorf(`%q does not cite docs/semantics.md as semantics HEADING "WORDS"`, strings.TrimSpace(rule))
		}
		for _, m := range found {
			i := slices.IndexFunc(parts, func(p rulePart) bool {
				return p.heading == m[1] && strings.Contains(strings.ToLower(p.text), strings.ToLower(m[2]))
			})
			if i < 0 {
				t.Errorf("docs/semantics.md does not say %q below %q", m[2], m[1])
				continue
			}
			broken[parts[i]] = true
		}
	}
	for _, p := range parts {
		exempt := slices.ContainsFunc(noRule, func(begin string) bool { return strings.HasPrefix(p.text, begin) })
		if exempt == broken[p] {
			t.Errorf("%s: %.70q... has a fault: %t; stands in noRule: %t", p.heading, p.text, broken[p], exempt)
		}
	}
	if len(parts) < 150 {
		t.Errorf("docs/semantics.md has %d parts: not all are found", len(parts))
	}
}

// rulePart is a paragraph, an item of a list, or a row of a table, without its
// marks.
type rulePart struct{ heading, text string }

var (
	linked    = regexp.MustCompile(`\[([^]]+)\]\([^)]*\)`)
	itemMark  = regexp.MustCompile(`^(- |\d+\. |\| )`)
	otherMark = strings.NewReplacer("`", "", "*", "")
)

// contract reads docs/semantics.md, whose parts are of one line each.
func contract(t *testing.T) (parts []rulePart) {
	heading, code := "", false
	for line := range strings.Lines(readText(t, "docs/semantics.md")) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			code = !code
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		case strings.HasPrefix(line, "|---"):
			parts = parts[:len(parts)-1] // the head of a table
		case line != "" && !code:
			text := otherMark.Replace(linked.ReplaceAllString(line, "$1"))
			parts = append(parts, rulePart{heading, itemMark.ReplaceAllString(text, "")})
		}
	}
	return parts
}
