package lease_test

import (
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

func TestOnlyAClaimWantsItsKey(t *testing.T) {
	w := newWorld(t)
	for _, c := range goldenCommands() {
		every, wants := w.table.Wants(c)
		_, claims := c.(*lease.Claim)
		if wants != claims || claims && every != 15*time.Second/4 {
			t.Errorf("%#v: %v, %v", c, every, wants)
		}
	}
}

func TestOnlyATakeoverByTheHolderPasses(t *testing.T) {
	w := newWorld(t)
	own := &lease.Claim{Key: key("db"), Holder: "ann", TTL: time.Second, Takeover: true}
	if w.table.Passes(own) {
		t.Error("nobody holds it")
	}
	must(w.do(own))
	for want, c := range map[string]*lease.Claim{
		"own": own, "other": {Key: key("db"), Holder: "bob", Takeover: true}, "plain": {Key: key("db"), Holder: "ann"},
	} {
		if got := w.table.Passes(c); got != (want == "own") {
			t.Errorf("%s: %v", want, got)
		}
	}
}

func TestGuessesAboutCommandsOfOthersAreNo(t *testing.T) {
	w := newWorld(t)
	other := must(testtable.NewRegister().Decode(testtable.Delete("db")))
	must(w.do(&lease.Claim{Key: key("db"), Holder: "ann", TTL: time.Second}))
	for _, c := range []state.Command{other, nil} {
		if _, wants := w.table.Wants(c); wants || w.table.Passes(c) || w.table.Frees(nil, c, 0) {
			t.Errorf("%v wants, passes or frees", c)
		}
	}
	if err := w.table.Check(0, other); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("it may be done: %v", err)
	}
}

func TestTakenSaysWhoHoldsAndForHowLong(t *testing.T) {
	w := newWorld(t)
	e := w.table.Taken(key("db"), 0, "others wait for it")
	if e.Message != "cannot claim default/db: others wait for it" || e.Holder != "" {
		t.Errorf("of a free name: %+v", e)
	}
	must(w.do(&lease.Claim{Key: key("db"), Holder: "ann", TTL: time.Minute}))
	e = w.table.Taken(key("db"), state.Time(time.Second), "others wait for it")
	if e.Message != `cannot claim default/db: "ann" holds it, and others wait for it` || e.Kind != interrex.ErrHeld ||
		e.Holder != "ann" || !e.HeldSince.Equal(epoch) || e.Remaining != 59*time.Second {
		t.Errorf("%+v", e)
	}
	must(w.do(&lease.Pin{Key: key("db"), Owner: "ops"}))
	if e = w.table.Taken(key("db"), 0, "why"); e.Remaining != 0 {
		t.Errorf("of a pinned lease: %+v", e)
	}
}

func TestAboutSaysWhereACommandGoesAndWhoMayDoIt(t *testing.T) {
	names := []string{"claim", "extend", "revoke", "transfer", "pin", "unpin"}
	for i, c := range goldenCommands() {
		want := state.About{Name: names[i], Key: key("team/db/1")}
		want.Spare = names[i] == "revoke"
		if names[i] == "claim" {
			want.Holder = "ann"
		}
		if want.Privileged = names[i] == "revoke"; names[i] == "extend" { // the revoke is one by force
			want.Extend = true
		}
		if c.About() != want {
			t.Errorf("%+v, want %+v", c.About(), want)
		}
	}
	if (&lease.Revoke{Token: 1}).About().Privileged {
		t.Error("the holder may not revoke")
	}
}
