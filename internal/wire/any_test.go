package wire

import (
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
