package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFile is the largest configuration file, in bytes.
const MaxFile = 1 << 20

// Source says where a configuration is read from. Flag stands above
// environment, environment above file, file above default.
type Source struct {
	// Path of the file. Empty: none.
	Path string
	// Optional lets the file be absent.
	Optional bool
	// Environ is as os.Environ gives it.
	Environ []string
	// Flags sets what the command line gave. May be nil.
	Flags func(*Config)
}

// Load reads, overlays and validates the configuration. The error has a line
// for each value that is wrong, with where it was set.
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
	return c, where(c.Validate(), func(key string) string {
		switch line, inFile := lines[key]; {
		case given[key]:
			return "the command line: "
		case taken[key] != "":
			return taken[key] + ": "
		case inFile:
			return fmt.Sprintf("%s, line %d: ", s.Path, line)
		}
		return ""
	})
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

// where puts before each line of an error where the key was set that it begins
// with.
func where(err error, of func(key string) string) error {
	if err == nil {
		return nil
	}
	var all []error
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSpace(line)
		key, _, _ := strings.Cut(line, ": ")
		all = append(all, errors.New(of(key)+line))
	}
	return errors.Join(all...)
}

// file reads the file, and returns the line of each key.
func (s Source) file(c *Config) (lines map[string]int, err error) {
	if s.Path == "" {
		return nil, nil
	}
	info, err := os.Stat(s.Path)
	if s.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("cannot read the configuration: %s has %d bytes, at most %d are allowed", s.Path, info.Size(), MaxFile)
	}
	data, err := os.ReadFile(s.Path)
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
