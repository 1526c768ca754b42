package wire

import (
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// A refused message costs no more memory than its bytes.
func TestTooManyOperationsCostNothing(t *testing.T) {
	for _, m := range []any{&interrexv1.OperateRequest{}, &interrexv1.StreamServiceWatchRequest{}} {
		data := []byte(strings.Repeat("\x0a\x00", 2<<20))
		if _, is := m.(*interrexv1.StreamServiceWatchRequest); is {
			data = []byte(strings.Repeat("\x12\x00", 2<<20))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := StreamCodec{}.Unmarshal(data, m)
		runtime.ReadMemStats(&after)
		if interrex.KindOf(err) != interrex.ErrTooLarge {
			t.Errorf("%T: got %v", m, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%T: %d MiB were taken for a message of 4", m, n>>20)
		}
	}
}

func TestAMessageHasSoManyElements(t *testing.T) {
	for _, element := range []string{"\x12\x00", "\x1a\x00", "\x0a\x00"} { // an open, a credit, an operation
		var m any = &interrexv1.StreamServiceWatchRequest{}
		if element == "\x0a\x00" {
			m = &interrexv1.OperateRequest{}
		}
		for n, want := range map[int]interrex.Kind{MaxOperations: "", MaxOperations + 1: interrex.ErrTooLarge} {
			if err := (StreamCodec{}).Unmarshal([]byte(strings.Repeat(element, n)), m); interrex.KindOf(err) != want || want == "" && err != nil {
				t.Errorf("%d of %q: %v, want %q", n, element, err, want)
			}
		}
	}
}

func TestAMethodNeedsANumberAndAClass(t *testing.T) {
	for _, c := range []struct {
		declared *interrexv1.Method
		whole    bool
	}{
		{&interrexv1.Method{Number: 7, Class: interrexv1.Class_CLASS_READ}, true},
		{&interrexv1.Method{Class: interrexv1.Class_CLASS_READ}, false},
		{&interrexv1.Method{Number: 7}, false},
	} {
		options := &descriptorpb.MethodOptions{}
		proto.SetExtension(options, interrexv1.E_Method, c.declared)
		file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: proto.String("any.proto"), Package: proto.String("any"),
			MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("M")}},
			Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("S"), Method: []*descriptorpb.MethodDescriptorProto{{
				Name: proto.String("Do"), InputType: proto.String(".any.M"), OutputType: proto.String(".any.M"), Options: options,
			}}}},
		}, protoregistry.GlobalFiles)
		if err != nil {
			t.Fatal(err)
		}
		m, err := methodOf(file.Services().Get(0).Methods().Get(0))
		if (err == nil) != c.whole || m.Procedure != "/any.S/Do" || m.Number != c.declared.GetNumber() || m.Class != c.declared.GetClass() {
			t.Errorf("%v: %+v, %v", c.declared, m, err)
		}
	}
}
