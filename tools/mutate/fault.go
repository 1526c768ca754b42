package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// fault is one change that a test must notice.
type fault struct {
	rule     string // what it breaks
	file     string // from the root
	old, new string
	folder   string // of the test, from the root
	test     string // its name, as -run takes it
	survives string // in place of a test: why none can notice it
	line     int    // in the file of faults
}

// read reads the faults and checks each against the tree.
func read(file, root string) ([]fault, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var faults []fault
	var errs []error
	lines := strings.Split(string(text), "\n")
	for i := 0; i < len(lines); {
		begin := i
		for i < len(lines) && lines[i] != "" {
			i++
		}
		block := lines[begin:i]
		i++
		for len(block) > 0 && strings.HasPrefix(block[0], "#") {
			block = block[1:]
			begin++
		}
		if len(block) == 0 {
			continue
		}
		f, err := parse(block)
		f.line = begin + 1
		if err == nil {
			err = f.check(root)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", filepath.Base(file), f.line, err))
		}
		faults = append(faults, f)
	}
	return faults, errors.Join(errs...)
}

// parse reads one block.
func parse(block []string) (fault, error) {
	var f fault
	var before, after []string
	for _, line := range block {
		name, value, _ := strings.Cut(line, ": ")
		switch {
		case line[0] == '-':
			before = append(before, line[1:])
		case line[0] == '+':
			after = append(after, line[1:])
		case name == "rule":
			f.rule = value
		case name == "file":
			f.file = value
		case name == "survives":
			f.survives = value
		case name == "test":
			f.folder, f.test, _ = strings.Cut(value, " ")
		default:
			return f, fmt.Errorf("%q is not a line of a fault", line)
		}
	}
	f.old, f.new = strings.Join(before, "\n"), strings.Join(after, "\n")
	if f.rule == "" || f.file == "" || f.old == "" || f.old == f.new || (f.test == "") == (f.survives == "") {
		return f, errors.New("a fault has a rule, a file, an old text, another new one, and either a test or why it survives")
	}
	return f, nil
}

// check returns why the fault does not fit the tree; nil: it does.
func (f *fault) check(root string) error {
	code, err := os.ReadFile(filepath.Join(root, f.file))
	if err != nil {
		return err
	}
	if n := strings.Count(string(code), f.old); n != 1 {
		return fmt.Errorf("%s has %q %d times, not once", f.file, f.old, n)
	}
	if f.test == "" {
		return nil
	}
	name, _, _ := strings.Cut(f.test, "/")
	tests, err := filepath.Glob(filepath.Join(root, f.folder, "*_test.go"))
	if err != nil {
		return err
	}
	for _, file := range tests {
		if code, err := os.ReadFile(file); err != nil {
			return err
		} else if bytes.Contains(code, []byte("\nfunc "+name+"(")) {
			return nil
		}
	}
	return fmt.Errorf("%s has no %s", f.folder, name)
}
