package wire

import (
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex"
)

// A message of two bytes takes a hundred when it is decoded. So that the size of a
// request says how much memory it takes, one has at most sparse values, and one more for
// each fullness bytes.
const (
	sparse   = 16 << 10
	fullness = 8
)

func checkDensity(values, size int) error {
	if most := sparse + size/fullness; values > most {
		return interrex.Errorf(interrex.ErrTooLarge, "the request has %d values in %d bytes, and may have %d: send less at once", values, size, most)
	}
	return nil
}

// CheckJSON returns an error of kind ErrTooLarge if a document has too many values for
// its size. It does not check that it is JSON.
func CheckJSON(text []byte) error {
	if len(text) < sparse {
		return nil
	}
	n, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++ // skips the escaped character
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return checkDensity(n, len(text))
}

// RequestCodec decodes requests as StreamCodec does, except those with too many values
// for their size.
type RequestCodec struct{ StreamCodec }

// Unmarshal implements connect.Codec. Its errors are of kind ErrInvalid or ErrTooLarge.
func (c RequestCodec) Unmarshal(data []byte, message any) (err error) {
	m, is := message.(proto.Message)
	if is && len(data) >= sparse {
		err = checkValues(data, m.ProtoReflect().Descriptor())
	}
	if err == nil {
		err = c.StreamCodec.Unmarshal(data, message)
	}
	if err == nil || !is || interrex.KindOf(err) != "" {
		return err
	}
	// protobuf varies its spaces deliberately.
	why := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	return interrex.Errorf(interrex.ErrInvalid, "body: it is not a %s: %s", m.ProtoReflect().Descriptor().Name(), why)
}

func checkValues(data []byte, d protoreflect.MessageDescriptor) error {
	n, err := values(data, d, protowire.DefaultRecursionLimit)
	if err != nil {
		return err
	}
	return checkDensity(n, len(data))
}

// values returns the number of fields of a message, and of the messages in it, which may
// be nested so deep.
func values(b []byte, d protoreflect.MessageDescriptor, depth int) (n int, err error) {
	if depth == 0 {
		return 0, errNested
	}
	err = fields(b, func(f field) error {
		n++
		known := d.Fields().ByNumber(f.number)
		if f.kind != protowire.BytesType || known == nil || known.Message() == nil {
			return nil
		}
		within, err := values(f.bytes, known.Message(), depth-1)
		n += within
		return err
	})
	return n, err
}
