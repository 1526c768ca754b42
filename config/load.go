package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/interrex/interrex/internal/disk"
)

// Source is where a configuration is read from. Flags override the environment,
// the environment overrides the file, and the file overrides the defaults.
type Source struct {
	// Path of the file. Empty: none.
	Path string
	// Optional lets the file be absent.
	Optional bool
	// Environ is as returned by os.Environ.
	Environ []string
	// Flags sets the values from the command line. May be nil.
	Flags func(*Config)
	// FlagNames are the names of the flags, by key, for errors.
	FlagNames map[string]string
	// Check reports more problems of a configuration that could be read, one on each
	// line, which begins with the key. May be nil.
	Check func(Config) error
}

// Load reads, overlays and validates the configuration. The error has a line for each
// problem, with where it was set, those of the file in the order of its lines. If the
// file cannot be read, the error is about that only.
func (s Source) Load() (Config, error) {
	c := Default()
	lines, found, err := s.file(&c)
	if err != nil {
		return Config{}, err
	}
	taken, err := overlay(&c, s.Environ)
	found = append(found, problems(err)...)
	before := c
	if s.Flags != nil {
		s.Flags(&c)
	}
	given := flags(before, c)
	misread := len(found) > 0
	found = fresh(found, problems(c.Validate()))
	if s.Check != nil && !misread {
		found = fresh(found, problems(s.Check(c)))
	}
	if len(found) == 0 {
		return c, nil
	}
	return Config{}, s.located(found, lines, taken, given)
}

// problem is one line of an error about a configuration.
type problem struct {
	line int // in the file; 0: see located
	text string
}

// key returns the key that the problem is about, if its text begins with one.
func (p problem) key() string {
	key, _, _ := strings.Cut(p.text, ": ")
	return key
}

// problems returns the lines of an error.
func problems(err error) (all []problem) {
	if err == nil {
		return nil
	}
	for text := range strings.Lines(err.Error()) {
		all = append(all, problem{text: strings.TrimSpace(text)})
	}
	return all
}

// fresh adds those problems whose keys have none yet.
func fresh(found, more []problem) []problem {
	known := map[string]bool{}
	for _, p := range found {
		known[p.key()] = true
	}
	for _, p := range more {
		if !known[p.key()] {
			found = append(found, p)
		}
	}
	return found
}

// flags are the keys whose values the command line has changed.
func flags(before, after Config) map[string]bool {
	was, given := map[string]any{}, map[string]bool{}
	leaves(reflect.ValueOf(&before).Elem(), "", func(path string, v reflect.Value) { was[path] = v.Interface() })
	leaves(reflect.ValueOf(&after).Elem(), "", func(path string, v reflect.Value) {
		if !reflect.DeepEqual(was[path], v.Interface()) {
			given[path] = true
		}
	})
	return given
}

// located returns the error of problems, each with where its key was set.
func (s Source) located(found []problem, lines map[string]int, taken map[string]string, given map[string]bool) error {
	for i := range found {
		switch p, key := &found[i], found[i].key(); {
		case p.line > 0:
		case given[key]:
			p.text = orCommandLine(s.FlagNames[key]) + ": " + p.text
		case taken[key] != "":
			p.text = taken[key] + ": " + p.text
		default:
			p.line = lines[key]
		}
	}
	slices.SortStableFunc(found, func(a, b problem) int {
		if a.line == 0 || b.line == 0 {
			return cmp.Compare(b.line, a.line) // those without a line come last
		}
		return cmp.Compare(a.line, b.line)
	})
	var all []error
	for _, p := range found {
		if p.line > 0 {
			p.text = fmt.Sprintf("%s, line %d: %s", s.Path, p.line, p.text)
		}
		all = append(all, errors.New(p.text))
	}
	return errors.Join(all...)
}

func orCommandLine(flag string) string {
	if flag == "" {
		return "the command line"
	}
	return flag
}

// file reads the file, and returns the line of each key, and what is wrong in it.
func (s Source) file(c *Config) (lines map[string]int, wrong []problem, err error) {
	if s.Path == "" {
		return nil, nil, nil
	}
	data, err := disk.ReadSmall(s.Path)
	if s.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if lines, wrong, err = parse(data, c); err != nil {
		return nil, nil, fmt.Errorf("cannot read the configuration %s: %w", s.Path, err)
	}
	return lines, wrong, nil
}

// YAML writes the whole configuration.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }

// leaves visits every field that is not a section.
func leaves(v reflect.Value, path string, visit func(string, reflect.Value)) {
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if path != "" {
			key = path + "." + key
		}
		if f := v.Field(i); f.Kind() == reflect.Struct {
			leaves(f, key, visit)
		} else {
			visit(key, f)
		}
	}
}
