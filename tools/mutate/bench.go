package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// What became of a fault.
const (
	killed   = "killed"
	survived = "SURVIVED"
	broken   = "ERROR" // it was not tried
)

// bench tries faults on the tree at root, which it does not change.
type bench struct {
	root string
}

// run tries one fault. The output is what go test said.
func (b *bench) run(f fault) (result, output string) {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return broken, err.Error() + "\n"
	}
	defer os.RemoveAll(dir)
	overlay, err := b.overlay(f, dir)
	if err != nil {
		return broken, err.Error() + "\n"
	}
	// By the environment, a test that builds the binary builds it with the fault.
	out, err := test(b.root, f.folder, pattern(f.test), strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay), "-vet=off", "-count=1", "-failfast")
	switch {
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")), bytes.Contains(out, []byte("[no tests to run]")):
		return broken, string(out)
	case err == nil:
		return survived, string(out)
	case bytes.Contains(out, []byte("\nFAIL\t")):
		return killed, string(out)
	}
	return broken, string(out) + err.Error() + "\n"
}

// overlay writes the changed file, and the list by which go takes it in place
// of the tree's.
func (b *bench) overlay(f fault, dir string) (string, error) {
	original := filepath.Join(b.root, f.file)
	code, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(code), f.old, f.new, 1)), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o600)
}

// passes reports whether the tests pass without any fault, a folder at a time: a
// test that fails anyway would kill every fault.
func passes(root string, faults []fault) error {
	names := map[string][]string{}
	for _, f := range faults {
		name, _, _ := strings.Cut(f.test, "/")
		names[f.folder] = append(names[f.folder], name)
	}
	var failed []error
	for _, folder := range slices.Sorted(maps.Keys(names)) {
		if out, err := test(root, folder, "^("+strings.Join(names[folder], "|")+")$", os.Getenv("GOFLAGS")); err != nil {
			failed = append(failed, fmt.Errorf("tests of %s fail without a fault: %w\n%s", folder, err, out))
		}
	}
	return errors.Join(failed...)
}

// test runs go test. Without tables for debuggers a binary is linked sooner.
func test(root, folder, pattern, goflags string, args ...string) ([]byte, error) {
	args = append([]string{"test", "-ldflags=-s -w", "-timeout", "2m", "-run", pattern}, args...)
	cmd := exec.Command("go", append(args, "./"+folder)...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOFLAGS="+goflags)
	return cmd.CombinedOutput()
}

// pattern is the expression for one test, or one of its parts.
func pattern(name string) string {
	return "^" + strings.ReplaceAll(name, "/", "$/^") + "$"
}
