package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
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
}

// InvalidError is Load's error if everything could be read, but a value is not
// allowed. The Config returned with it is as it was read.
type InvalidError struct{ error }

// Unwrap returns what is wrong.
func (e InvalidError) Unwrap() error { return e.error }

// Load reads, overlays and validates the configuration. The error has a line for
// each invalid value, with where it was set.
func (s Source) Load() (Config, error) {
	c := Default()
	lines, err := s.file(&c)
	if err != nil {
		return Config{}, err
	}
	taken, err := overlay(&c, s.Environ)
	if err != nil {
		return Config{}, fmt.Errorf("cannot read the environment: %w", err)
	}
	before := c
	if s.Flags != nil {
		s.Flags(&c)
	}
	given := flags(before, c)
	return c, s.where(c.Validate(), lines, taken, given)
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

// where prefixes each line of an error with where the key that the line begins
// with was set.
func (s Source) where(err error, lines map[string]int, taken map[string]string, given map[string]bool) error {
	if err == nil {
		return nil
	}
	var all []error
	for text := range strings.Lines(err.Error()) {
		text = strings.TrimSpace(text)
		key, _, _ := strings.Cut(text, ": ")
		switch line, inFile := lines[key]; {
		case given[key]:
			text = orCommandLine(s.FlagNames[key]) + ": " + text
		case taken[key] != "":
			text = taken[key] + ": " + text
		case inFile:
			text = fmt.Sprintf("%s, line %d: %s", s.Path, line, text)
		}
		all = append(all, errors.New(text))
	}
	return InvalidError{errors.Join(all...)}
}

func orCommandLine(flag string) string {
	if flag == "" {
		return "the command line"
	}
	return flag
}

// file reads the file, and returns the line of each key.
func (s Source) file(c *Config) (lines map[string]int, err error) {
	if s.Path == "" {
		return nil, nil
	}
	data, err := disk.ReadSmall(s.Path)
	if s.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if lines, err = parse(data, c); err != nil {
		return nil, fmt.Errorf("cannot read the configuration %s: %w", s.Path, err)
	}
	return lines, nil
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
