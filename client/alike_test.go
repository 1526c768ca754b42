package client

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// Watches of one method get an event in one group, even if a program decodes them
// as different types.
func TestWatchesOfOneMethodMayReadDifferentTypes(t *testing.T) {
	st := streamAside()
	decoded := 0
	ints, _ := aside(st, 1, true)
	ints.decoder = func([]byte) (*event[int], error) {
		decoded++
		return &event[int]{value: 7, at: Position{Revision: 9}}, nil
	}
	twin, _ := aside(st, 2, true)
	texts := &Watch[string]{said: map[*endpoint]error{}}
	texts.decoder = WatchConfig[string, *interrexv1.LeaseEvent]{
		Decode: func(m *interrexv1.LeaseEvent) (string, Position, error) {
			decoded++
			return m.GetKind(), Position{Revision: interrex.Revision(m.GetRevision()), Present: true}, nil
		},
	}.decode
	third := &subscription{id: 3, stream: st, to: texts}
	texts.way, st.open[3] = third, third
	b, err := proto.Marshal(&interrexv1.LeaseEvent{Kind: "x", Revision: 9})
	if err != nil {
		t.Fatal(err)
	}
	ints.ready, twin.ready, texts.ready = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	st.bring(&interrexv1.WatchEvents{Ids: []uint64{1, 3, 2}, Events: [][]byte{b}})
	for _, w := range []*Watch[int]{ints, twin} {
		if e, err := w.Next(t.Context()); err != nil || e != 7 || w.since != 9 {
			t.Errorf("%d, %v, and resumes after %d", e, err, w.since)
		}
	}
	if e, err := texts.Next(t.Context()); err != nil || e != "x" || texts.since != 0 || !texts.present {
		t.Errorf("%q, %v, and resumes after %d, amid the beginning: %v", e, err, texts.since, texts.present)
	}
	if decoded != 2 {
		t.Errorf("it was decoded %d times, want once for each type", decoded)
	}
}
