package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// parse overlays c with a YAML document, and returns the line of each key. The
// error has a line for each key that does not exist, with the nearest one that
// does, and for each value of the wrong kind.
func parse(data []byte, c *Config) (lines map[string]int, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	d := document{lines: map[string]int{}}
	d.section(doc.Content[0], reflect.ValueOf(c).Elem(), "")
	return d.lines, errors.Join(d.wrong...)
}

// document is a configuration file that is being read.
type document struct {
	lines map[string]int
	wrong []error
}

func (d *document) refuse(n *yaml.Node, format string, args ...any) {
	d.wrong = append(d.wrong, fmt.Errorf("line %d: "+format, append([]any{n.Line}, args...)...))
}

// section reads the keys of a section into the fields of v.
func (d *document) section(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.refuse(n, "%s: a section with keys is expected", orRoot(path))
		return
	}
	fields := make(map[string]reflect.Value, v.NumField())
	for i := range v.NumField() {
		fields[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := strings.TrimPrefix(path+"."+key.Value, ".")
		field, found := fields[key.Value]
		switch first, twice := d.lines[full]; {
		case !found:
			d.refuse(key, "there is no key %s: did you mean %s?", full, nearest(full))
			continue
		case twice:
			d.refuse(key, "%s is set on line %d already", full, first)
			continue
		}
		d.lines[full] = key.Line
		if field.Kind() == reflect.Struct {
			d.section(value, field, full)
		} else if value.Decode(field.Addr().Interface()) != nil {
			d.refuse(value, "%s: %s is not valid: use %s", full, shown(value), wanted(field))
		}
	}
}

func orRoot(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

func shown(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", n.Value)
}

// wanted describes the values that a field accepts.
func wanted(field reflect.Value) string {
	switch field.Interface().(type) {
	case time.Duration:
		return "a duration with a unit, such as 500ms or 2m"
	case Switch, bool:
		return "true or false"
	}
	switch field.Kind() {
	case reflect.Slice:
		return "a list, such as [a, b]"
	case reflect.String:
		return "a text"
	}
	return "a whole number"
}
