package client

import (
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// A watch is not resumed within its snapshot.
func TestWhatWasPresentHasNoTime(t *testing.T) {
	for _, c := range []struct {
		m    *interrexv1.ResourceEvent
		want Position
	}{
		{&interrexv1.ResourceEvent{Operation: interrex.ResourceUpsert, Revision: 7}, Position{7, true}},
		{&interrexv1.ResourceEvent{Operation: interrex.EndOfSnapshot, Revision: 7}, Position{7, false}},
		{&interrexv1.ResourceEvent{Operation: interrex.ResourceUpsert, Revision: 8, Time: timestamppb.Now()}, Position{8, false}},
		{&interrexv1.ResourceEvent{Operation: interrex.ResourceDelete, Revision: 9, Time: timestamppb.Now()}, Position{9, false}},
	} {
		if _, got, err := resourceEvent(c.m); err != nil || got != c.want {
			t.Errorf("%v is at %+v, %v, want %+v", c.m, got, err, c.want)
		}
	}
}

func TestADocumentComesBack(t *testing.T) {
	d, err := NewDocument(map[string]any{"port": 80, "tags": []any{"a", nil}})
	if err != nil {
		t.Fatal(err)
	}
	if fields, is := Document(d); !is || fields["port"] != 80.0 || len(fields["tags"].([]any)) != 2 {
		t.Errorf("%v, %v", fields, is)
	}
	if _, is := Document(interrex.ResourceData{TypeURL: "example.com/x.Unknown"}); is {
		t.Error("another type is taken for a document")
	}
	if _, err := NewDocument(map[string]any{"f": func() {}}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Error(err)
	}
}
