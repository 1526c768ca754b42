package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
	"unsafe"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// StreamCodec encodes protobuf, as Connect's own codec does. It decodes the messages
// of Operate itself: everything in a message shares one copy of its bytes, whereas
// protobuf's decoder makes several copies for each operation.
type StreamCodec struct{}

var _ connect.Codec = StreamCodec{}

// Name implements connect.Codec.
func (StreamCodec) Name() string { return "proto" }

// Marshal implements connect.Codec.
func (c StreamCodec) Marshal(message any) ([]byte, error) { return c.MarshalAppend(nil, message) }

// MarshalAppend spares Connect a copy.
func (c StreamCodec) MarshalAppend(b []byte, message any) ([]byte, error) {
	switch m := message.(type) {
	case *any: // see api.Method.Handler
		return c.MarshalAppend(b, *m)
	case *Response:
		return m.AppendProto(b)
	case proto.Message:
		return proto.MarshalOptions{}.MarshalAppend(b, m)
	}
	return nil, fmt.Errorf("cannot encode a %T: it is not a protobuf message", message)
}

// Unmarshal implements connect.Codec. Connect reuses data afterwards.
func (StreamCodec) Unmarshal(data []byte, message any) error {
	switch m := message.(type) {
	case *interrexv1.OperateRequest:
		return readOperations(bytes.Clone(data), m)
	case *interrexv1.OperateResponse:
		return readAnswers(bytes.Clone(data), m)
	case *interrexv1.StreamServiceWatchRequest:
		if _, err := countLimited("opens and credits", data, 2, 3); err != nil {
			return err
		}
		return proto.Unmarshal(data, m)
	case proto.Message:
		return proto.Unmarshal(data, m)
	}
	return fmt.Errorf("cannot decode a %T: it is not a protobuf message", message)
}

var (
	errMalformed = errors.New("cannot decode the message: it is malformed")
	errUTF8      = errors.New("cannot decode the message: a text in it is not UTF-8")
	errNested    = fmt.Errorf("cannot decode the message: messages in it are nested more than %d deep", protowire.DefaultRecursionLimit)
)

// MaxOperations is the largest number of operations, or of watches and credits, in
// one message of a stream. Messages with more are not decoded: an element could take
// a hundred times its size in memory.
const MaxOperations = 1024

// MaxMessage is the largest size, in bytes, of a message that an agent reads.
const MaxMessage = 4 << 20

// MaxBody is the largest size, in bytes, of a method's own request: an operation of
// the log, and the overhead of a message. With its envelope it can be forwarded.
const MaxBody = 1<<20 + 64<<10

// countLimited returns the number of fields of a message that have one of these numbers. The
// error is ErrTooLarge if there are more than MaxOperations.
func countLimited(what string, b []byte, numbers ...protowire.Number) (n int, err error) {
	n, err = count(b, numbers...)
	if err == nil && n > MaxOperations {
		err = interrex.Errorf(interrex.ErrTooLarge, "%s: %d in one message are more than %d", what, n, MaxOperations)
	}
	return n, err
}

// field is one field of a message: a number, or bytes.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64
	bytes  []byte
}

// fields calls each for every field of a message, in order.
func fields(b []byte, each func(field) error) error {
	for len(b) > 0 {
		f := field{}
		var n int
		if f.number, f.kind, n = protowire.ConsumeTag(b); n < 0 || f.number > protowire.MaxValidNumber {
			return errMalformed
		}
		b = b[n:]
		switch f.kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(f.number, f.kind, b)
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

// count returns the number of length-delimited fields that have one of these numbers.
func count(b []byte, numbers ...protowire.Number) (n int, err error) {
	err = fields(b, func(f field) error {
		if f.kind == protowire.BytesType && slices.Contains(numbers, f.number) {
			n++
		}
		return nil
	})
	return n, err
}

func (f field) text() (string, error) {
	if !utf8.Valid(f.bytes) {
		return "", errUTF8
	}
	return unsafe.String(unsafe.SliceData(f.bytes), len(f.bytes)), nil
}

// readOperations decodes a message, which then refers to b.
func readOperations(b []byte, m *interrexv1.OperateRequest) error {
	n, err := countLimited("operations", b, 1)
	if err != nil {
		return err
	}
	m.Reset()
	all := make([]interrexv1.Operation, n)
	m.Operations = make([]*interrexv1.Operation, 0, n)
	return fields(b, func(f field) error {
		switch {
		case f.number == 1 && f.kind == protowire.BytesType:
			op := &all[len(m.Operations)]
			m.Operations = append(m.Operations, op)
			return fields(f.bytes, func(f field) error { return readOperation(f, op) })
		case f.number == 2 && f.kind == protowire.VarintType:
			m.Cancels = append(m.Cancels, f.value)
		case f.number == 2 && f.kind == protowire.BytesType:
			return readNumbers(f.bytes, &m.Cancels)
		}
		return nil
	})
}

func readNumbers(b []byte, to *[]uint64) error {
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errMalformed
		}
		*to, b = append(*to, v), b[n:]
	}
	return nil
}

// readOperation decodes one field of an operation. It ignores a field that is
// unknown, or of another wire type.
func readOperation(f field, op *interrexv1.Operation) (err error) {
	if f.kind == protowire.VarintType {
		switch f.number {
		case 1:
			op.Id = f.value
		case 2:
			op.Method = uint32(f.value)
		case 5:
			op.Attempt = uint32(f.value)
		case 6:
			op.Mark = f.value
		case 8:
			op.TimeoutMs = uint32(f.value)
		case 9:
			op.WaitMs = uint32(f.value)
		case 10:
			op.AsksAgain = f.value != 0
		case 13:
			op.KnownRevision = f.value
		}
	}
	if f.kind == protowire.BytesType {
		switch f.number {
		case 3:
			op.Body = f.bytes
		case 4:
			op.RequestId, err = f.text()
		case 7:
			if op.Fence == nil {
				op.Fence = &interrexv1.Fence{}
			}
			err = proto.UnmarshalOptions{Merge: true}.Unmarshal(f.bytes, op.Fence)
		case 11:
			op.Caller, err = f.text()
		case 12:
			op.Origin, err = f.text()
		case 14:
			op.Share, err = f.text()
		}
	}
	return err
}

// Answer is an interrexv1.Answer with room for a body, in one allocation.
type Answer struct {
	interrexv1.Answer
	body interrexv1.Answer_Body
}

// SetBody sets the result to body, without copying it.
func (a *Answer) SetBody(body []byte) {
	a.body.Body = body
	a.Result = &a.body
}

// readAnswers decodes a message, which then refers to b.
func readAnswers(b []byte, m *interrexv1.OperateResponse) error {
	n, err := count(b, 1)
	if err != nil {
		return err
	}
	all := make([]Answer, n)
	m.Answers = make([]*interrexv1.Answer, 0, n)
	return fields(b, func(f field) error {
		if f.number != 1 || f.kind != protowire.BytesType {
			return nil
		}
		a := &all[len(m.Answers)]
		m.Answers = append(m.Answers, &a.Answer)
		return fields(f.bytes, func(f field) error { return readAnswer(f, a) })
	})
}

func readAnswer(f field, a *Answer) error {
	switch {
	case f.number == 1 && f.kind == protowire.VarintType:
		a.Id = f.value
	case f.number == 2 && f.kind == protowire.BytesType:
		e, is := a.Result.(*interrexv1.Answer_Error)
		if !is {
			e = &interrexv1.Answer_Error{Error: &interrexv1.Error{}}
			a.Result = e
		}
		return proto.UnmarshalOptions{Merge: true}.Unmarshal(f.bytes, e.Error)
	case f.number == 3 && f.kind == protowire.BytesType:
		a.SetBody(f.bytes)
	}
	return nil
}
