package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// JSON of the API is protobuf's as people expect it: the names of the .proto on
// output, zeros and empty lists present, and unknown fields refused.
//
// An Any whose type is not known here, whose value is not of that type, or that is
// nested too deeply, is {"@type": URL, "value": base64}: that is the form in which
// protobuf writes a google.protobuf.BytesValue, so for protojson such an Any
// contains one.

// maxNesting is how deeply lists and objects may be nested where an Any is
// written out. Readers of JSON, and of the google.protobuf.Value that the feed
// makes of it, have limits of their own, all of them higher.
const maxNesting = 1000

// maxAnys is how many Anys stand in one another at most: protojson reads and
// copies all that is in one again for each that it is in.
const maxAnys = 16

// AppendJSON appends a message as JSON.
func AppendJSON(b []byte, m proto.Message) (out []byte, err error) {
	deep := false
	eachAny(m.ProtoReflect(), func(a *anypb.Any) { deep = deep || anysBeyond(a, maxAnys) })
	if !deep {
		out, err = appendJSON(b, m, nobody)
		if err == nil && !nestedBeyond(out[len(b):], maxNesting) {
			return out, nil
		}
	}
	// A mark behind the type tells those that are shown as bytes from others of
	// the type. It is random: nothing else in the text is like it.
	mark := "#" + rand.Text()
	sealed := proto.Clone(m)
	some := false
	eachAny(sealed.ProtoReflect(), func(a *anypb.Any) {
		if !anysBeyond(a, maxAnys) {
			if text, err := appendJSON(nil, a, nobody); err == nil && !nestedBeyond(text, maxNesting) {
				return
			}
		}
		some = true
		a.TypeUrl += mark
		a.Value, _ = proto.Marshal(wrapperspb.Bytes(a.Value)) // bytes have a form
	})
	if !some {
		return out, err
	}
	text, err := appendJSON(nil, sealed, func(url string) bool { return strings.HasSuffix(url, mark) })
	return append(b, bytes.ReplaceAll(text, []byte(mark), nil)...), err
}

func nobody(string) bool { return false }

func appendJSON(b []byte, m proto.Message, opaque func(url string) bool) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true, Resolver: resolver{protoregistry.GlobalTypes, opaque}}.MarshalAppend(b, m)
}

// nestedBeyond reports whether lists and objects of a JSON text are nested more
// than limit deep.
func nestedBeyond(text []byte, limit int) bool {
	if bytes.Count(text, []byte{'['})+bytes.Count(text, []byte{'{'}) <= limit {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // what it escapes
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

// anysBeyond reports whether more than limit Anys stand in one another, this one
// counted.
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

// holdsMessages reports whether there can be an Any in a message: those of
// protobuf's own types but Any have none.
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

// typesBeyond reports whether more than limit objects of a JSON text that name a
// type, as an Any does, stand in one another. What is in a Struct is none.
func typesBeyond(text []byte, limit int) bool {
	if bytes.Count(text, []byte("@type"))+bytes.Count(text, []byte(`\u`)) <= limit { // names may have escapes
		return false
	}
	type object struct {
		typ   string
		inner int // Anys in one another within it
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
		if err != nil { // the end, or what protojson says is wrong
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

// UnmarshalJSON reads a message from JSON: either spelling of a field's name.
func UnmarshalJSON(text []byte, m proto.Message) error {
	if typesBeyond(text, maxAnys) {
		return fmt.Errorf("more than %d Anys stand in one another", maxAnys)
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

// resolver finds the types of Anys, and takes a BytesValue for those that are
// opaque.
type resolver struct {
	*protoregistry.Types
	opaque func(url string) bool
}

// FindMessageByURL is part of protojson's Resolver.
func (r resolver) FindMessageByURL(url string) (protoreflect.MessageType, error) {
	if r.opaque(url) {
		return (*wrapperspb.BytesValue)(nil).ProtoReflect().Type(), nil
	}
	return r.Types.FindMessageByURL(url)
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
