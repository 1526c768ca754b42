package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// parse overlays c with a YAML document, and returns the line of each key, and what is
// wrong: each key that does not exist, with the nearest one that does, and each value
// of the wrong kind.
func parse(data []byte, c *Config) (lines map[string]int, wrong []problem, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, nil, explained(err)
	}
	if len(doc.Content) == 0 {
		return nil, nil, nil
	}
	d := document{lines: map[string]int{}}
	d.section(doc.Content[0], reflect.ValueOf(c).Elem(), "")
	return d.lines, d.wrong, nil
}

// noToken is the parser's text for a tab that begins a line, as for some other characters.
const noToken = "found character that cannot start any token"

// explained adds what is most often the cause of an error of the parser.
func explained(err error) error {
	if strings.HasSuffix(err.Error(), noToken) {
		return fmt.Errorf("%w: a tab cannot indent, use spaces; quote a value that begins with @ or a backtick", err)
	}
	return err
}

// document is a configuration file that is being read.
type document struct {
	lines map[string]int
	wrong []problem
}

func (d *document) refuse(n *yaml.Node, format string, args ...any) {
	d.wrong = append(d.wrong, problem{n.Line, fmt.Sprintf(format, args...)})
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
		} else if isFraction(value, field) || value.Decode(field.Addr().Interface()) != nil {
			d.refuse(value, "%s: %s is not valid: use %s", full, shown(value), wanted(field))
		}
	}
}

// isFraction reports whether a field for a whole number is given another one, or one out
// of its range, which the decoder would cut.
func isFraction(n *yaml.Node, field reflect.Value) bool {
	return n.ShortTag() == "!!float" && (field.CanInt() || field.CanUint())
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
