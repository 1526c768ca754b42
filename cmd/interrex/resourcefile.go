package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

// maxResourceFile is the largest file of a resource, in bytes.
const maxResourceFile = 4 << 20

// resourceForm is the form of a resource's file.
const resourceForm = `FILE is YAML or JSON, as 'interrex resource read -o yaml' prints it,
except that a type may be written as one word:

  id: {type: demo.v1.Server, name: web}
  metadata: {team: infra}
  data: {port: 8080}

The version is that of the resource to replace; without one, the resource must not
exist yet. Data with an "@type" is of that Protobuf type; other data is a document,
google.protobuf.Struct.`

// readResource reads a resource from a file.
func readResource(ctx context.Context, file string) (interrex.Resource, error) {
	text, err := readFile(ctx, file, maxResourceFile)
	if err != nil {
		return interrex.Resource{}, fmt.Errorf("cannot read the resource: %w", err)
	}
	r, err := parseResource(text)
	if err != nil {
		return interrex.Resource{}, fmt.Errorf("cannot read the resource of %s: %w: see 'interrex resource write --help'", displayName(file), err)
	}
	return r, nil
}

// parseResource reads YAML, and so JSON too.
func parseResource(text []byte) (interrex.Resource, error) {
	var fields map[string]any
	in := yaml.NewDecoder(bytes.NewReader(text))
	var wrong *yaml.TypeError
	if err := in.Decode(&fields); errors.As(err, &wrong) {
		return interrex.Resource{}, errors.New("it is not a mapping of fields")
	} else if err != nil && !errors.Is(err, io.EOF) {
		return interrex.Resource{}, err
	}
	if len(fields) == 0 {
		return interrex.Resource{}, errors.New("it is empty")
	}
	if err := in.Decode(new(any)); !errors.Is(err, io.EOF) {
		return interrex.Resource{}, errors.New("it has more than one document: give one resource at a time")
	}
	var data *interrex.ResourceData
	plain, is := fields["data"].(map[string]any)
	if !is && fields["data"] != nil {
		return interrex.Resource{}, errors.New("data: it is not a mapping: give one, such as {port: 8080}")
	}
	if is && plain["@type"] == nil {
		document, err := client.NewDocument(plainValues(plain).(map[string]any))
		if err != nil {
			return interrex.Resource{}, err
		}
		data = &document
		delete(fields, "data")
	}
	return fromFields(fields, data)
}

// fromFields reads a resource whose plain document, if any, is data.
func fromFields(fields map[string]any, data *interrex.ResourceData) (interrex.Resource, error) {
	if v, is := fields["version"].(int); is {
		fields["version"] = fmt.Sprint(v)
	}
	for _, field := range []string{"id", "owner"} {
		if err := spellType(fields[field]); err != nil {
			return interrex.Resource{}, fmt.Errorf("%s: %w", field, err)
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return interrex.Resource{}, err
	}
	var m interrexv1.Resource
	if err := wire.UnmarshalJSON(text, &m); err != nil {
		return interrex.Resource{}, plainError(err)
	}
	r, err := wire.FromResource(&m)
	if err != nil {
		return interrex.Resource{}, err
	}
	r.ID.Tenancy = interrex.Tenancy{Partition: m.GetId().GetTenancy().GetPartition(), Namespace: m.GetId().GetTenancy().GetNamespace()}
	if data != nil {
		r.Data = *data
	}
	return r, nil
}

// spellType replaces a type that is written GROUP.VERSION.KIND by its parts.
func spellType(id any) error {
	fields, _ := id.(map[string]any)
	text, is := fields["type"].(string)
	if !is {
		return nil
	}
	t, err := interrex.ParseResourceType(text)
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), string(interrex.ErrInvalid)+": "))
	}
	fields["type"] = map[string]any{"group": t.Group, "group_version": t.GroupVersion, "kind": t.Kind}
	return nil
}

var (
	// place is the position in an error of protojson: in the JSON made from the file.
	place = regexp.MustCompile(`^proto:.\(line \d+:\d+\): | \(line \d+:\d+\)`)
	// notText is its error for a number in place of a string.
	notText = regexp.MustCompile(`^invalid value for string .*: (-?[0-9.e+]+|true|false)$`)
)

func plainError(err error) error {
	text := place.ReplaceAllString(strings.ReplaceAll(err.Error(), "\u00a0", " "), "")
	text = strings.TrimPrefix(text, "proto: ")
	if found := notText.FindStringSubmatch(text); found != nil {
		text += ": a string is expected: put the value in quotes in the file"
	}
	return errors.New(text)
}

// plainValues converts the values of YAML to those that a document can have.
func plainValues(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainValues(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plainValues(v[i])
		}
	case nil, bool, int, int64, uint64, float64, string:
	default: // a time
		text, _ := json.Marshal(v)
		return strings.Trim(string(text), `"`)
	}
	return v
}
