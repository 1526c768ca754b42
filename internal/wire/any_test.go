package wire

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/interrex/interrex/gen/interrexv1"
)

func TestATypeThatMayHaveAnAnyIsKnown(t *testing.T) {
	for m, want := range map[proto.Message]bool{
		&interrexv1.ListResponse{}:                false,
		&interrexv1.ResourceServiceListResponse{}: true, // in its items
		&interrexv1.GroupRequest{}:                true,
		&anypb.Any{}:                              true,
		&structpb.Struct{}:                        false, // which contains itself, in a map
	} {
		for range 2 { // it is found, and remembered
			if got := mayHaveAny(m.ProtoReflect().Descriptor()); got != want {
				t.Errorf("%T: %v", m, got)
			}
		}
	}
}

func TestHowDeepATextIsNested(t *testing.T) {
	for text, want := range map[string]int{
		`7`: 0, `[[]]`: 2, `[{"a":[]},{"b":[]},[[]]]`: 3, `[[],[],[]]`: 2, // those beside each other
		`["[[[["]`: 1, `["\"[[[["]`: 1, `{"a\\":[{}]}`: 3, `["\\\"{{{",{}]`: 2, // and those in texts
	} {
		for limit := range 5 {
			if got := nestedBeyond([]byte(text), limit); got != (want > limit) {
				t.Errorf("%s, beyond %d: %v", text, limit, got)
			}
		}
	}
}

// The first of two is nested too deeply, or the second.
func TestEachAnyBesideOthersIsLookedInto(t *testing.T) {
	pack := func(m proto.Message) *anypb.Any {
		a, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	flat := pack(&structpb.Struct{})
	deep := flat
	for range maxAnys {
		deep = pack(deep)
	}
	for _, both := range [][]*anypb.Any{{deep, flat}, {flat, deep}} {
		group := &interrexv1.GroupRequest{Operations: both}
		if !anysBeyond(pack(group), maxAnys) {
			t.Error("an Any around both")
		}
		text, err := AppendJSON(nil, group)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(text, []byte(`"value":"`)); n != 1 { // as bytes
			t.Errorf("%d are shown as bytes: %.300s", n, text)
		}
	}
}

func TestHowDeepTypesAreNestedInAText(t *testing.T) {
	typed := func(n int) string {
		return strings.Repeat(`{"@type":"x.Y","value":`, n) + "1" + strings.Repeat("}", n)
	}
	for text, want := range map[string]int{
		typed(3): 3, "[" + typed(3) + "," + typed(1) + "]": 3, "[" + typed(1) + "," + typed(3) + "]": 3,
		"[1e999," + typed(3) + "]":       3, // a number that no float64 has
		strings.TrimRight(typed(3), "}"): 3, // it is cut off
		`{"@type":"x.Y","@type":"google.protobuf.Struct","value":` + typed(2) + `}`:       3, // the first counts
		`{"@type":"type.googleapis.com/google.protobuf.Struct","value":` + typed(3) + `}`: 1,
	} {
		for limit := range 5 {
			if got := typesBeyond([]byte(text), limit); got != (want > limit) {
				t.Errorf("%s, beyond %d: %v", text, limit, got)
			}
		}
	}
}
