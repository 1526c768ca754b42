package wire_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/wire"
)

func operations() *interrexv1.OperateRequest {
	return &interrexv1.OperateRequest{
		Operations: []*interrexv1.Operation{
			{
				Id: 1, Method: 257, Body: []byte("body"), RequestId: "name.1", Attempt: 2, Mark: 3,
				Fence: &interrexv1.Fence{Key: "a/b", Token: 4}, TimeoutMs: 5, WaitMs: 6, AsksAgain: true, Caller: "ann",
				Origin: "10.0.0.7", KnownRevision: 8, Share: "10.0.0.8",
			},
			{},
			{Id: 1 << 63, Body: make([]byte, 300)},
		},
		Cancels: []uint64{1, 1 << 40},
	}
}

func answers() *interrexv1.OperateResponse {
	return &interrexv1.OperateResponse{Answers: []*interrexv1.Answer{
		{Id: 1, Result: &interrexv1.Answer_Body{Body: []byte("body")}},
		{Id: 2, Result: &interrexv1.Answer_Error{Error: &interrexv1.Error{Kind: "held", Holder: "ann"}}},
		{Id: 3, Result: &interrexv1.Answer_Body{}},
		{},
	}}
}

func TestTheStreamsCodecReadsWhatProtobufWrites(t *testing.T) {
	for _, m := range []proto.Message{operations(), answers(), &interrexv1.Fence{Key: "a/b", Token: 1}} {
		data, err := wire.StreamCodec{}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got := m.ProtoReflect().New().Interface()
		if err := (wire.StreamCodec{}).Unmarshal(data, got); err != nil || !proto.Equal(got, m) {
			t.Errorf("%v came as %v, %v", m, got, err)
		}
		clear(data) // connect uses it again
		if !proto.Equal(got, m) {
			t.Errorf("%v shares memory that is not its own", m)
		}
	}
}

// The codec decodes every field of the messages: one that is added only to a message
// fails here.
func TestTheStreamsCodecKnowsEveryField(t *testing.T) {
	full := operations().Operations[0].ProtoReflect()
	for i := range full.Descriptor().Fields().Len() {
		if f := full.Descriptor().Fields().Get(i); !full.Has(f) {
			t.Errorf("the test leaves %s out", f.Name())
		}
	}
	if n := (&interrexv1.Answer{}).ProtoReflect().Descriptor().Fields().Len(); n != 3 {
		t.Errorf("an answer has %d fields", n)
	}
}

// FuzzStreamCodec compares the codec with protobuf's own decoder: the errors and the
// messages must be the same, except for unknown fields.
func FuzzStreamCodec(f *testing.F) {
	for _, m := range []proto.Message{operations(), answers()} {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte{0x10, 0x05, 0x12, 0x01, 0x07})                                         // cancels, one by one and packed
	f.Add([]byte{0x0a, 0x03, 0x22, 0x01, 0xff})                                         // a text that is not UTF-8
	f.Add([]byte{0x0a, 0x06, 0x12, 0x01, 0x00, 0x1a, 0x01, 0x00})                       // an error, then a body
	f.Add([]byte{0x0a, 0x02, 0x50, 0x00})                                               // asks again: no
	f.Add([]byte{0x0a, 0x09, 0x3a, 0x03, 0x0a, 0x01, 'a', 0x3a, 0x02, 0x10, 0x04})      // a fence in two parts
	f.Add([]byte{0x0a, 0x0a, 0x12, 0x03, 0x0a, 0x01, 'k', 0x12, 0x03, 0x12, 0x01, 'm'}) // an error in two parts
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x10, 0x00})                                   // a number that no field has
	f.Add([]byte{0x0a, 0x08})                                                           // bytes that are missing
	f.Add([]byte{0x0a, 0x03, 0x5a, 0x01, 0xff})                                         // a caller that is not UTF-8
	f.Add([]byte{0x0a, 0x04, 0x3a, 0x02, 0x0a, 0x05})                                   // a fence that is cut off
	f.Add([]byte{0x08, 0x01})                                                           // a number where operations are
	f.Add([]byte{0x0a, 0x05, 0x08, 0x05, 0x0a, 0x01, 'a'})                              // and a text in place of an ID,
	f.Add([]byte{0x0a, 0x02, 0x10, 0x05})                                               // numbers in place of an error
	f.Add([]byte{0x0a, 0x02, 0x18, 0x05})                                               // and of a body
	f.Add(bytes.Repeat([]byte{0x08, 0x01}, wire.MaxOperations+1))                       // they are no operations
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, m := range []proto.Message{&interrexv1.OperateRequest{}, &interrexv1.OperateResponse{}} {
			want := m.ProtoReflect().New().Interface()
			wantErr := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, want)
			err := (wire.StreamCodec{}).Unmarshal(data, m)
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%T: got %v, protobuf says %v", m, err, wantErr)
			}
			if err == nil {
				forgetUnknown(m.ProtoReflect())
				if !proto.Equal(m, want) {
					t.Fatalf("got %v, protobuf reads %v", m, want)
				}
			}
		}
	})
}

func TestAMessageThatIsReadAgainBeginsAnew(t *testing.T) {
	for _, m := range []proto.Message{operations(), answers()} {
		if err := (wire.StreamCodec{}).Unmarshal(nil, m); err != nil || proto.Size(m) != 0 {
			t.Errorf("of nothing comes %v, %v", m, err)
		}
	}
}

func TestCancelsThatAreCutOffAreMalformed(t *testing.T) {
	for _, data := range []string{"\x12\x01\x80", "\x12\x02\x07\x80", "\x12\x0a" + strings.Repeat("\xff", 10)} {
		if err := (wire.StreamCodec{}).Unmarshal([]byte(data), &interrexv1.OperateRequest{}); err == nil {
			t.Errorf("%q was read", data)
		}
	}
	var m interrexv1.OperateRequest
	err := wire.StreamCodec{}.Unmarshal([]byte("\x12\x03\x07\x88\x01"), &m)
	if err != nil || !slices.Equal(m.Cancels, []uint64{7, 136}) {
		t.Errorf("%v, %v", m.Cancels, err)
	}
}

func forgetUnknown(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				forgetUnknown(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			forgetUnknown(v.Message())
		}
		return true
	})
}
