package apiserver

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

const (
	maxMisread      = 16 << 10 // bytes of a body that is searched for the wrong field
	maxMisreadDepth = 4        // of nested messages: what is in each is read once more
	maxMisreadItems = 256      // elements of a list or a map
	maxShownValue   = 64       // bytes of a wrong value or name that its error quotes
	maxShownReason  = 512      // bytes of protojson's own text
)

// misread returns an error of ErrInvalid that says which field of a JSON text
// cannot be read into m, and what is allowed there. why is protojson's error, whose
// text is used when no single field is at fault.
//
// A field is wrong when protojson cannot read a document that has only this field.
func misread(text []byte, m protoreflect.Message, why error) error {
	name := m.Descriptor().Name()
	if len(bytes.TrimSpace(text)) == 0 {
		return interrex.Errorf(interrex.ErrInvalid, "body: it is empty: send {} for a %s without fields", name)
	}
	if err := broken(text); err != nil {
		return err
	}
	if len(text) <= maxMisread {
		if err := misreadField(text, m, "", 0); err != nil {
			return err
		}
	}
	plain := strings.TrimPrefix(strings.ReplaceAll(why.Error(), "\u00a0", " "), "proto: ")
	return interrex.Errorf(interrex.ErrInvalid, "body: cannot read a %s: %s", name, wording.Excerpt(plain, maxShownReason))
}

// broken returns an error that says where a text stops being JSON; nil if it is JSON.
func broken(text []byte) error {
	var syntax *json.SyntaxError
	if err := json.Unmarshal(text, new(json.RawMessage)); !errors.As(err, &syntax) {
		if !utf8.Valid(text) {
			return interrex.Errorf(interrex.ErrInvalid, "body: it is not UTF-8")
		}
		return nil
	}
	at := min(int(syntax.Offset), len(text))
	before := text[:max(0, at-1)]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return interrex.Errorf(interrex.ErrInvalid, "body: it is not JSON: line %d, column %d: %v", line, column, syntax)
}

// misreadField returns the error of the first wrong field of a message, by name; nil
// if each is valid by itself.
func misreadField(text []byte, m protoreflect.Message, path string, depth int) error {
	if depth == maxMisreadDepth {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil {
		return wrongValue(strings.TrimSuffix(cmp.Or(path, "body"), "."), text, objectOf(m.Descriptor()))
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := fieldOf(m.Descriptor(), name)
		if f == nil {
			return unknownField(path, name, m.Descriptor())
		}
		if !readable(m, name, fields[name]) {
			return misreadValue(fields[name], m, f, path, depth)
		}
	}
	return nil
}

// fieldOf returns the field with either of its two spellings; nil if there is none.
func fieldOf(d protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if f := d.Fields().ByTextName(name); f != nil {
		return f
	}
	return d.Fields().ByJSONName(name)
}

func unknownField(path, name string, d protoreflect.MessageDescriptor) error {
	var names []string
	for i := range d.Fields().Len() {
		names = append(names, string(d.Fields().Get(i).Name()))
	}
	hint := "the fields are " + cmp.Or(strings.Join(names, ", "), "none")
	if near := wording.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q? ", near) + hint
	}
	return interrex.Errorf(interrex.ErrInvalid, "%s%s: %s has no such field: %s", path, shown([]byte(name)), d.Name(), hint)
}

// readable reports whether a message that has only this field can be read.
func readable(m protoreflect.Message, name string, value any) bool {
	text, err := json.Marshal(map[string]any{name: value})
	return err == nil && wire.UnmarshalJSON(text, m.New().Interface()) == nil
}

// misreadValue returns an error that says what is wrong with the value of a field, or
// with a part of it.
func misreadValue(value json.RawMessage, m protoreflect.Message, f protoreflect.FieldDescriptor, path string, depth int) error {
	name := string(f.Name())
	path += name
	switch {
	case f.IsList():
		var items []json.RawMessage
		if json.Unmarshal(value, &items) != nil {
			return wrongValue(path, value, "a list in brackets")
		}
		for i, item := range items[:min(len(items), maxMisreadItems)] {
			if !readable(m, name, []json.RawMessage{item}) {
				return misreadOne(item, m.NewField(f).List().NewElement(), f, fmt.Sprintf("%s[%d]", path, i), depth)
			}
		}
	case f.IsMap():
		var items map[string]json.RawMessage
		if json.Unmarshal(value, &items) != nil {
			return wrongValue(path, value, "an object, such as {\"a\": ...}")
		}
		keys := slices.Sorted(maps.Keys(items))
		for _, key := range keys[:min(len(keys), maxMisreadItems)] {
			if !readable(m, name, map[string]json.RawMessage{key: items[key]}) {
				return misreadOne(items[key], m.NewField(f).Map().NewValue(), f.MapValue(), path+"."+shown([]byte(key)), depth)
			}
		}
	default:
		return misreadOne(value, m.NewField(f), f, path, depth)
	}
	return nil // protojson says which
}

// misreadOne returns the error of a value that is neither a list nor a map.
func misreadOne(value json.RawMessage, v protoreflect.Value, f protoreflect.FieldDescriptor, path string, depth int) error {
	if d := f.Message(); d != nil && d.FullName() == "google.protobuf.Any" {
		if err := misreadAny(value, path, depth); err != nil {
			return err
		}
	}
	if d := f.Message(); d != nil && d.FullName().Parent() != "google.protobuf" {
		if err := misreadField(value, v.Message(), path+".", depth+1); err != nil {
			return err
		}
	}
	return wrongValue(path, value, allowed(f, value))
}

// misreadAny returns the error of a message that names its type.
func misreadAny(text []byte, path string, depth int) error {
	const form = `an object with the type of its message, such as {"@type": "type.googleapis.com/PACKAGE.MESSAGE", ...}`
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil {
		return wrongValue(path, text, form)
	}
	var url string
	if json.Unmarshal(fields["@type"], &url) != nil || url == "" {
		return interrex.Errorf(interrex.ErrInvalid, "%s: its type is missing: give %s", path, form)
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		return wrongValue(path+".@type", fields["@type"], `a message that is known here, or its bytes: {"@type": ..., "value": BASE64}`)
	}
	delete(fields, "@type")
	rest, err := json.Marshal(fields)
	if err != nil || typ.Descriptor().FullName().Parent() == "google.protobuf" {
		return nil
	}
	return misreadField(rest, typ.New(), path+".", depth+1)
}

func wrongValue(path string, value []byte, allowed string) error {
	return interrex.Errorf(interrex.ErrInvalid, "%s: %s is not valid: give %s", path, shown(value), allowed)
}

// shown returns the part of a value that an error quotes.
func shown(value []byte) string { return wording.Line(string(value), maxShownValue) }

// allowed describes the values that a field takes.
func allowed(f protoreflect.FieldDescriptor, value []byte) string {
	switch f.Kind() {
	case protoreflect.StringKind:
		return `a text in quotes`
	case protoreflect.BoolKind:
		return "true or false, without quotes"
	case protoreflect.EnumKind:
		return "one of " + enumNames(f.Enum())
	case protoreflect.BytesKind:
		return `base64 in quotes, such as "aGVsbG8="`
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return messageForm(f.Message(), value)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return "a number"
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return "a whole number from 0 to 4294967295"
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return "a whole number from 0 to 18446744073709551615"
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return "a whole number from -2147483648 to 2147483647"
	}
	return "a whole number from -9223372036854775808 to 9223372036854775807"
}

func enumNames(d protoreflect.EnumDescriptor) string {
	var names []string
	for i := range d.Values().Len() {
		if name := d.Values().Get(i).Name(); !strings.HasSuffix(string(name), "_UNSPECIFIED") {
			names = append(names, fmt.Sprintf("%q", name))
		}
	}
	return strings.Join(names, ", ")
}

// messageForm describes the JSON of a message, as far as it is known here.
func messageForm(d protoreflect.MessageDescriptor, value []byte) string {
	switch d.FullName() {
	case "google.protobuf.Duration":
		return "seconds, such as " + seconds(value)
	case "google.protobuf.Timestamp":
		return `a time of RFC 3339, such as "2026-01-31T12:00:00Z"`
	}
	if d.FullName() == "google.protobuf.Any" {
		return `an object with its type, such as {"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"a": 1}}; of a type that is not known here the value is base64`
	}
	if d.FullName().Parent() == "google.protobuf" {
		return "the JSON of a " + string(d.FullName())
	}
	return objectOf(d)
}

// seconds returns an example of a duration in protobuf's form: the intended one if
// value can be parsed.
func seconds(value []byte) string {
	text := strings.Trim(string(value), `" `)
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil {
		return `"1800s" or "1.5s"`
	}
	written, _ := protojson.Marshal(durationpb.New(d)) // every time.Duration has a form
	return string(written)
}

func objectOf(d protoreflect.MessageDescriptor) string {
	if d.Fields().Len() == 0 {
		return "{}"
	}
	return fmt.Sprintf(`an object, such as {"%s": ...}`, d.Fields().Get(0).Name())
}
