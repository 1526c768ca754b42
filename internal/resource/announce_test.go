package resource_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
)

// What is published under a kind that was not announced passes by the webhooks
// that are for it.
func TestEveryEventOfACommandWasAnnounced(t *testing.T) {
	w := newWorld(t)
	a, b := id("test.v1.Server", "a"), id("test.v1.Server", "b")
	for _, c := range []state.Command{
		&resource.Write{ID: a}, &resource.Write{ID: b}, &resource.Delete{ID: a},
		&resource.Clear{Selection: interrex.ResourceSelection{Type: b.Type, Tenancy: b.Tenancy}},
	} {
		turn := &state.Turn{Revision: 1000, Table: machine.ResourceTable, Minted: make([]byte, limits.MaxMinted)}
		w.table.Apply(turn, c)
		announced := c.(state.Announcer).Announce()
		if len(turn.Events()) == 0 {
			t.Errorf("%+v publishes nothing", c)
		}
		for _, e := range turn.Events() {
			fits := announced.Key == e.Key || announced.Prefix && strings.HasPrefix(e.Key, announced.Key)
			if !slices.Contains(announced.Kinds, e.Kind) || !fits {
				t.Errorf("%+v is announced as %+v, and publishes %s of %s", c, announced, e.Kind, e.Key)
			}
		}
	}
}
