package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// knownKeys refuses keys that t does not have.
func knownKeys(n *yaml.Node, t reflect.Type, path string) error {
	if n.Tag == "!!null" {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s: a section with keys is expected", n.Line, orRoot(path))
	}
	fields := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("yaml")] = t.Field(i).Type
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		full := strings.TrimPrefix(path+"."+key.Value, ".")
		field, found := fields[key.Value]
		if !found {
			return fmt.Errorf("line %d: there is no key %s: did you mean %s?", key.Line, full, nearest(full))
		}
		if field.Kind() != reflect.Struct {
			continue
		}
		if err := knownKeys(value, field, full); err != nil {
			return err
		}
	}
	return nil
}

func orRoot(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

// nearest gives the key whose path, or whose last part, is closest to path.
func nearest(path string) string {
	best, least := "", 1<<30
	consider := func(known string) {
		d := Distance(path, known)
		if last := lastPart(known); lastPart(path) == last {
			d = min(d, 1)
		}
		if d < least {
			best, least = known, d
		}
	}
	sections := reflect.TypeFor[Config]()
	for i := range sections.NumField() {
		consider(sections.Field(i).Tag.Get("yaml"))
	}
	c := Config{}
	_ = leaves(reflect.ValueOf(&c).Elem(), "", func(known string, _ reflect.Value) error {
		consider(known)
		return nil
	})
	return best
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// Distance is Levenshtein's: how many bytes have to be put in, taken out or
// changed to make b of a. It is what a suggestion is found by.
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
