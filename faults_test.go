package interrex_test

import (
	"path"
	"regexp"
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
