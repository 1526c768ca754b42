package wire

import (
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// valueURL is the type URL of a value.
const valueURL = "type.googleapis.com/interrex.v1.Value"

// Value returns the data of a value. Equal values have equal bytes.
func Value(b []byte) (interrex.ResourceData, error) {
	m := &interrexv1.Value{Content: &interrexv1.Value_Binary{Binary: b}}
	if utf8.Valid(b) {
		m.Content = &interrexv1.Value_Text{Text: string(b)}
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return interrex.ResourceData{}, interrex.Errorf(interrex.ErrInvalid, "data: %v", err)
	}
	return interrex.ResourceData{TypeURL: valueURL, Value: data}, nil
}

// FromValue returns the value in d. The error is of kind ErrInvalid.
func FromValue(d interrex.ResourceData) ([]byte, error) {
	m := &interrexv1.Value{}
	if d.TypeURL != valueURL || proto.Unmarshal(d.Value, m) != nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, `data: for %s it must be {"@type": %q, "text": ...}, or "binary" with base64`, interrex.ValueType, valueURL)
	}
	if text, is := m.Content.(*interrexv1.Value_Text); is {
		return []byte(text.Text), nil
	}
	return m.GetBinary(), nil
}

// ValueID returns the resource of a key; an empty namespace is "default".
func ValueID(namespace, key string) interrex.ResourceID {
	return interrex.ResourceID{Type: interrex.ValueType, Tenancy: interrex.Tenancy{Namespace: namespace}, Name: key}.WithDefaults()
}
