package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The API's JSON is protobuf's, with the field names of the .proto on output, zeros
// and empty lists included, and unknown fields refused.
//
// An Any whose type is not known here, whose value is not of that type, or that is
// nested too deeply, is {"@type": URL, "value": base64}. This is protobuf's form of a
// google.protobuf.BytesValue, so such an Any is passed to protojson as one.

// maxNesting is how deeply lists and objects may be nested where an Any is written
// out. Decoders of JSON, and of the google.protobuf.Value that the feed makes of it,
// have higher limits.
const maxNesting = 1000

// maxAnys is how deeply Anys may be nested: protojson decodes and copies the content
// of one again for each that contains it.
const maxAnys = 16

// AppendJSON appends a message as JSON.
func AppendJSON(b []byte, m proto.Message) (out []byte, err error) {
	if !mayHaveAny(m.ProtoReflect().Descriptor()) {
		return appendJSON(b, m, noneOpaque)
	}
	deep := false
	eachAny(m.ProtoReflect(), func(a *anypb.Any) { deep = deep || anysBeyond(a, maxAnys) })
	if !deep {
		out, err = appendJSON(b, m, noneOpaque)
		if err == nil && !nestedBeyond(out[len(b):], maxNesting) {
			return out, nil
		}
	}
	// A mark after the type distinguishes the Anys that are shown as bytes from
	// others of the type. It is random, so that it does not occur elsewhere.
	mark := "#" + rand.Text()
	sealed := proto.Clone(m)
	some := false
	eachAny(sealed.ProtoReflect(), func(a *anypb.Any) {
		if !anysBeyond(a, maxAnys) {
			if text, err := appendJSON(nil, a, noneOpaque); err == nil && !nestedBeyond(text, maxNesting) {
				return
			}
		}
		some = true
		a.TypeUrl += mark
		a.Value, _ = proto.Marshal(wrapperspb.Bytes(a.Value)) // cannot fail for bytes
	})
	if !some {
		return out, err
	}
	text, err := appendJSON(nil, sealed, func(url string) bool { return strings.HasSuffix(url, mark) })
	return append(b, bytes.ReplaceAll(text, []byte(mark), nil)...), err
}

func noneOpaque(string) bool { return false }

func appendJSON(b []byte, m proto.Message, opaque func(url string) bool) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true, Resolver: resolver{protoregistry.GlobalTypes, opaque}}.MarshalAppend(b, m)
}

// nestedBeyond reports whether lists and objects of a JSON text are nested more than
// limit deep.
func nestedBeyond(text []byte, limit int) bool {
	if bytes.Count(text, []byte{'['})+bytes.Count(text, []byte{'{'}) <= limit {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // skips the escaped character
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

// anysBeyond reports whether Anys are nested more than limit deep, a included.
func anysBeyond(a *anypb.Any, limit int) (beyond bool) {
	if limit == 0 {
		return true
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByURL(a.GetTypeUrl())
	if err != nil || !holdsMessages(typ.Descriptor()) {
		return false
	}
	m := typ.New()
	if proto.Unmarshal(a.GetValue(), m.Interface()) != nil {
		return false
	}
	eachAny(m, func(inner *anypb.Any) { beyond = beyond || anysBeyond(inner, limit-1) })
	return beyond
}

// holdsMessages reports whether a message can contain an Any: protobuf's own types
// other than Any cannot.
func holdsMessages(d protoreflect.MessageDescriptor) bool {
	if d.FullName().Parent() == "google.protobuf" {
		return d.Name() == "Any"
	}
	for i := range d.Fields().Len() {
		if d.Fields().Get(i).Message() != nil {
			return true
		}
	}
	return false
}

// typesBeyond reports whether objects of a JSON text that name a type, as an Any
// does, are nested more than limit deep. Those in a Struct do not count.
func typesBeyond(text []byte, limit int) bool {
	if bytes.Count(text, []byte("@type"))+bytes.Count(text, []byte(`\u`)) <= limit { // names may have escapes
		return false
	}
	type object struct {
		typ   string
		inner int // the depth of Anys nested in it
	}
	open := []object{{}}
	shut := func() {
		o, last := open[len(open)-1], len(open)-1
		switch {
		case strings.HasPrefix(o.typ[strings.LastIndexByte(o.typ, '/')+1:], "google.protobuf.Struct"):
			o.inner = 1
		case o.typ != "":
			o.inner++
		}
		open = open[:last]
		open[last-1].inner = max(open[last-1].inner, o.inner)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	for named := false; ; {
		t, err := in.Token()
		if err != nil { // the end, or an error that protojson reports
			for len(open) > 1 {
				shut()
			}
			return open[0].inner > limit
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			open = append(open, object{})
		case json.Delim('}'), json.Delim(']'):
			shut()
		default:
			if o := &open[len(open)-1]; named && o.typ == "" {
				o.typ = fmt.Sprint(t)
			}
		}
		named = t == "@type"
	}
}

// UnmarshalJSON decodes a message from JSON, with either spelling of field names.
func UnmarshalJSON(text []byte, m proto.Message) error {
	if err := CheckJSON(text); err != nil {
		return err
	}
	if typesBeyond(text, maxAnys) {
		return fmt.Errorf("an Any is nested more than %d deep", maxAnys)
	}
	found := 0
	unknown := func(url string) bool {
		if knownType(url) {
			return false
		}
		found++
		return true
	}
	if err := (protojson.UnmarshalOptions{Resolver: resolver{protoregistry.GlobalTypes, unknown}}).Unmarshal(text, m); err != nil {
		return err
	}
	eachAny(m.ProtoReflect(), func(a *anypb.Any) {
		var raw wrapperspb.BytesValue
		if a.TypeUrl != "" && !knownType(a.TypeUrl) && proto.Unmarshal(a.Value, &raw) == nil {
			a.Value = raw.Value
			found--
		}
	})
	if found != 0 {
		return errors.New("an Any within an Any is of a type that is not known here")
	}
	return nil
}

// knownType reports whether the type of an Any is linked into this program.
func knownType(url string) bool {
	_, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	return err == nil
}

// resolver finds the types of Anys, and returns BytesValue for opaque ones.
type resolver struct {
	*protoregistry.Types
	opaque func(url string) bool
}

// FindMessageByURL implements protojson's Resolver.
func (r resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if r.opaque(url) {
		return (*wrapperspb.BytesValue)(nil).ProtoReflect().Type(), nil
	}
	return r.Types.FindMessageByURL(url)
}

// anyTypes has what mayHaveAny has found, by descriptor.
var anyTypes sync.Map

// mayHaveAny reports whether a message of this type of the API may have an Any.
func mayHaveAny(d protoreflect.MessageDescriptor) bool {
	found, known := anyTypes.Load(d)
	if !known {
		found = hasAny(d, map[protoreflect.FullName]bool{})
		anyTypes.Store(d, found)
	}
	return found.(bool)
}

// hasAny reports whether a type, or one that it refers to, is Any, without those that
// were seen before.
func hasAny(d protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if d.FullName() == "google.protobuf.Any" {
		return true
	}
	if seen[d.FullName()] {
		return false
	}
	seen[d.FullName()] = true
	for i := range d.Fields().Len() {
		if of := d.Fields().Get(i).Message(); of != nil && hasAny(of, seen) { // of a map it is an entry
			return true
		}
	}
	return false
}

// eachAny calls fn with each Any of a message of the API, but not with those
// inside an Any.
func eachAny(m protoreflect.Message, fn func(*anypb.Any)) {
	if a, is := m.Interface().(*anypb.Any); is {
		fn(a)
		return
	}
	if m.Descriptor().FullName().Parent() == "google.protobuf" {
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
					eachAny(v.Message(), fn)
					return true
				})
			}
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				eachAny(v.List().Get(i).Message(), fn)
			}
		default:
			eachAny(v.Message(), fn)
		}
		return true
	})
}
