package lease_test

import (
	"slices"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// What is published under a kind that was not announced passes by the webhooks
// that are for it.
func TestEveryEventOfACommandWasAnnounced(t *testing.T) {
	w := goldenWorld(t)
	for _, c := range []command{
		&lease.Claim{Key: key("new"), Holder: "ann", TTL: interrex.MinTTL},
		&lease.Claim{Key: key("free"), Holder: "ann", TTL: interrex.MinTTL, Takeover: true},
		&lease.Claim{Key: key("free"), Holder: "ann", TTL: interrex.MinTTL, Takeover: true},
		&lease.Pin{Key: key("free"), Owner: "o"},
		&lease.Unpin{Key: key("free"), Owner: "o"},
		&lease.Revoke{Key: key("new"), Force: true},
	} {
		decoded := must(w.check(c.Append(nil)))
		turn := &state.Turn{Revision: 1000, Now: w.now, Table: machine.LeaseTable}
		w.table.Apply(turn, decoded)
		announced := c.(state.Announcer).Announce()
		if len(turn.Events()) == 0 {
			t.Errorf("%+v publishes nothing", c)
		}
		for _, e := range turn.Events() {
			if !slices.Contains(announced.Kinds, e.Kind) || announced.Key != e.Key {
				t.Errorf("%+v is announced as %+v, and publishes %s of %s", c, announced, e.Kind, e.Key)
			}
		}
	}
	if _, is := any(&lease.Extend{}).(state.Announcer); is {
		t.Error("an extend is announced: it would wait for webhooks")
	}
}
