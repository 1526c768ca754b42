package wire

import (
	"errors"

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
// An Any whose type is not known here, or whose value is not of that type, is
// {"@type": URL, "value": base64}: that is the form in which protobuf writes a
// google.protobuf.BytesValue, so for protojson such an Any contains one.

// AppendJSON appends a message as JSON.
func AppendJSON(b []byte, m proto.Message) ([]byte, error) {
	out, err := appendJSON(b, m, nil)
	if err == nil {
		return out, nil
	}
	sealed := proto.Clone(m)
	urls := opaque{}
	eachAny(sealed.ProtoReflect(), func(a *anypb.Any) {
		if _, err := appendJSON(nil, a, nil); err != nil {
			urls[a.TypeUrl] = true
		}
	})
	if len(urls) == 0 {
		return nil, err
	}
	eachAny(sealed.ProtoReflect(), func(a *anypb.Any) {
		if urls[a.TypeUrl] {
			a.Value, _ = proto.Marshal(wrapperspb.Bytes(a.Value)) // bytes have a form
		}
	})
	return appendJSON(b, sealed, urls)
}

func appendJSON(b []byte, m proto.Message, urls opaque) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true, Resolver: resolver{protoregistry.GlobalTypes, urls.has}}.MarshalAppend(b, m)
}

// UnmarshalJSON reads a message from JSON: either spelling of a field's name.
func UnmarshalJSON(text []byte, m proto.Message) error {
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

// opaque are type URLs.
type opaque map[string]bool

func (o opaque) has(url string) bool { return o[url] }

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
