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

// Load reads, overlays and validates the configuration.
func (s Source) Load() (Config, error) {
	c := Default()
	if s.Path != "" {
		if err := s.file(&c); err != nil {
			return Config{}, err
		}
	}
	if err := overlay(&c, s.Environ); err != nil {
		return Config{}, err
	}
	if s.Flags != nil {
		s.Flags(&c)
	}
	return c, c.Validate()
}

func (s Source) file(c *Config) error {
	info, err := os.Stat(s.Path)
	if s.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot read the configuration: %w", err)
	}
	if info.Size() > MaxFile {
		return fmt.Errorf("cannot read the configuration: %s has %d bytes, at most %d are allowed", s.Path, info.Size(), MaxFile)
	}
	data, err := os.ReadFile(s.Path)
	if err != nil {
		return fmt.Errorf("cannot read the configuration: %w", err)
	}
	if err := Parse(data, c); err != nil {
		return fmt.Errorf("cannot read the configuration %s: %w", s.Path, err)
	}
	return nil
}

// Parse overlays c with a YAML document. A key that does not exist is an error
// that names the nearest one that does.
func Parse(data []byte, c *Config) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	if len(doc.Content) == 0 {
		return nil
	}
	root := doc.Content[0]
	if err := knownKeys(root, reflect.TypeFor[Config](), ""); err != nil {
		return err
	}
	err := root.Decode(c)
	if err != nil && strings.Contains(err.Error(), "time.Duration") {
		return fmt.Errorf("%w: a duration has a unit, such as 500ms or 2m", err)
	}
	return err
}

// YAML writes the whole configuration.
func (c Config) YAML() ([]byte, error) { return yaml.Marshal(c) }

// overlay sets what the environment gives: INTERREX_ and the path of the key
// in capitals, dots and dashes as underscores.
func overlay(c *Config, environ []string) error {
	given := make(map[string]string, len(environ))
	for _, line := range environ {
		if name, value, found := strings.Cut(line, "="); found && strings.HasPrefix(name, "INTERREX_") {
			given[name] = value
		}
	}
	return leaves(reflect.ValueOf(c).Elem(), "", func(path string, v reflect.Value) error {
		name := "INTERREX_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(path))
		text, found := given[name]
		if !found {
			return nil
		}
		if v.Kind() == reflect.Slice {
			text = "[" + text + "]"
		}
		if v.Kind() == reflect.String {
			v.SetString(text)
			return nil
		}
		if err := yaml.Unmarshal([]byte(text), v.Addr().Interface()); err != nil {
			return fmt.Errorf("cannot read the environment: %s=%q is no value for %s: %w", name, given[name], path, err)
		}
		return nil
	})
}

// leaves visits every field that is not a section.
func leaves(v reflect.Value, path string, visit func(string, reflect.Value) error) error {
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("yaml")
		if path != "" {
			key = path + "." + key
		}
		var err error
		if f := v.Field(i); f.Kind() == reflect.Struct {
			err = leaves(f, key, visit)
		} else {
			err = visit(key, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
