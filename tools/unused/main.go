// Command unused owns the list of functions that nothing reaches: first those that
// not even a test reaches; then those that neither the binary, nor an example with
// its tests, nor what the public rooms export (testdata/api) reaches, so that a
// room's own test is no reason to keep one. It is run from the root, and takes
// the path of deadcode.
package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const module = "github.com/interrex/interrex"

// api holds what the public rooms export. The program that uses all of that is
// made below it, where the patterns of the go command do not look.
const api = "testdata/api"

// ofTests finds what is said of the rooms that only our own tests use.
var ofTests = regexp.MustCompile(`(?m)^internal/test(port|table|worker)/.*\n`)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: unused PATH-OF-DEADCODE, from the root of the module")
		os.Exit(2)
	}
	found, err := unused(os.Args[1])
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case found:
		os.Exit(1)
	}
}

func unused(deadcode string) (found bool, err error) {
	dir, err := os.MkdirTemp(api, "roots-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	source, err := roots()
	if err != nil {
		return false, err
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o644); err != nil {
		return false, err
	}
	for _, args := range [...][]string{
		{"-test", "./..."},
		{"-test", "./cmd/...", "./examples/...", "./" + filepath.ToSlash(dir)},
	} {
		list := exec.Command(deadcode, args...)
		list.Stderr = os.Stderr
		out, err := list.Output()
		if err != nil {
			return false, fmt.Errorf("deadcode %s: %w", strings.Join(args, " "), err)
		}
		out = ofTests.ReplaceAll(out, nil)
		os.Stdout.Write(out)
		found = found || len(out) > 0
	}
	return found, nil
}

// roots is a program that uses each function and method of the public rooms.
// Those with type parameters are left out: what uses them says of which types.
func roots() (string, error) {
	rooms, uses := map[string]string{}, []string{}
	err := filepath.WalkDir(api, func(file string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".txt" {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		room := strings.TrimSuffix(filepath.ToSlash(file), ".txt")
		name := fmt.Sprintf("room%d", len(rooms))
		if used := usesOf(name, string(text)); len(used) > 0 {
			rooms[name] = strings.TrimSuffix(module+strings.TrimPrefix(room, api), "/interrex")
			uses = append(uses, used...)
		}
		return nil
	})
	var source strings.Builder
	fmt.Fprintln(&source, "package main")
	for _, name := range slices.Sorted(maps.Keys(rooms)) {
		fmt.Fprintf(&source, "import %s %q\n", name, rooms[name])
	}
	fmt.Fprintf(&source, "func use(...any) {}\nfunc main() {\nuse(\n%s)\n}\n", strings.Join(uses, ""))
	return source.String(), err
}

var (
	generic  = regexp.MustCompile(`(?m)^type (\w+)\[`)
	function = regexp.MustCompile(`^func (\w+)\(`)
	method   = regexp.MustCompile(`^method \((\*?)(\w+)\) (\w+)`)
)

func usesOf(room, text string) (uses []string) {
	var skip []string
	for _, m := range generic.FindAllStringSubmatch(text, -1) {
		skip = append(skip, m[1])
	}
	for line := range strings.Lines(text) {
		if m := function.FindStringSubmatch(line); m != nil {
			uses = append(uses, fmt.Sprintf("%s.%s,\n", room, m[1]))
		}
		if m := method.FindStringSubmatch(line); m != nil && !slices.Contains(skip, m[2]) {
			uses = append(uses, fmt.Sprintf("(%s%s.%s).%s,\n", m[1], room, m[2], m[3]))
		}
	}
	return uses
}
