package interrex_test

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documents are the Markdown files that are part of the project.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			texts[file] = readText(t, file)
		}
	}
	return texts
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)

func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	for file, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			}
		}
	}
}

var testName = regexp.MustCompile("`([\\w/.-]+_test\\.go):((?:Test|Fuzz|Benchmark|Example)\\w+)`")

func TestTestsThatTheDocumentsNameExist(t *testing.T) {
	named := 0
	for file, text := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(text, -1) {
			named++
			code, err := os.ReadFile(m[1])
			if err != nil || !strings.Contains(string(code), "\nfunc "+m[2]+"(") {
				t.Errorf("%s names %s:%s, which does not exist", file, m[1], m[2])
			}
		}
	}
	if named < 100 {
		t.Errorf("the documents name %d tests: the pattern does not find them", named)
	}
}

var goName = regexp.MustCompile("`(?:([a-z]+)\\.)?([A-Z]\\w+)(?:\\.\\w+)?`")

func TestTheGoPageNamesWhatIsExported(t *testing.T) {
	rooms := publicRooms(t)
	rooms["interrex"] = rooms[""]
	for _, m := range goName.FindAllStringSubmatch(readText(t, "docs/go.md"), -1) {
		found := false
		for room, p := range rooms {
			found = found || path.Base(room) == cmp.Or(m[1], "interrex") && p.Scope().Lookup(m[2]) != nil
		}
		if !found {
			t.Errorf("docs/go.md names %s, which is not exported", m[0])
		}
	}
}

var requirement = regexp.MustCompile(`(?m)^(?:require)?\s+(\S+\.\S+/\S+) (v\S+)$`)

func TestEveryDependencyHasItsLine(t *testing.T) {
	lines := readText(t, "docs/decisions/dependencies.md")
	direct := requirement.FindAllStringSubmatch(readText(t, "go.mod"), -1)
	if len(direct) < 10 {
		t.Fatalf("go.mod has %d direct dependencies: the pattern does not find them", len(direct))
	}
	for _, m := range direct {
		if !strings.Contains(lines, "| `"+m[1]+"` | "+m[2]+" |") {
			t.Errorf("docs/decisions/dependencies.md has no line for %s %s", m[1], m[2])
		}
	}
}

func TestTheMapNamesEveryFolder(t *testing.T) {
	readme, architecture := readText(t, "README.md"), readText(t, "ARCHITECTURE.md")
	for dir := range floors {
		top, below, _ := strings.Cut(dir, "/")
		if !strings.Contains(readme, "]("+top) || !strings.Contains(architecture, top) || !strings.Contains(architecture, below) {
			t.Errorf("README.md or ARCHITECTURE.md does not name %s", dir)
		}
	}
}
