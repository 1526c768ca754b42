package lease_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/state"
)

// group checks commands together, and does them when they are allowed.
func (w *world) group(all ...command) ([]*lease.Reply, error) {
	w.table.Lock()
	defer w.table.Unlock()
	var decoded []state.Command
	for _, c := range all {
		decoded = append(decoded, must(w.table.Decode(c.Append(nil))))
	}
	if err := w.table.CheckGroup(w.now, decoded); err != nil {
		return nil, err
	}
	turn := w.turn()
	var replies []*lease.Reply
	for _, c := range decoded {
		turn.Next()
		replies = append(replies, w.table.Apply(turn, c).(*lease.Reply))
	}
	w.finish(turn)
	return replies, nil
}

func TestALeaseStandsInAGroupOnce(t *testing.T) {
	k, other := key("db"), key("other")
	claim := func(k interrex.Key) command { return &lease.Claim{Key: k, Holder: "ann", TTL: time.Minute} }
	for name, test := range map[string]struct {
		all  []command
		want interrex.Kind
	}{
		"two claims":             {[]command{claim(k), claim(k)}, interrex.ErrInvalid},
		"a claim and a pin":      {[]command{claim(k), &lease.Pin{Key: k, Owner: "a"}}, interrex.ErrInvalid},
		"a pin and a revoke":     {[]command{&lease.Pin{Key: other, Owner: "a"}, &lease.Revoke{Key: other, Force: true}}, interrex.ErrInvalid},
		"a revoke and a pin":     {[]command{&lease.Revoke{Key: other, Force: true}, &lease.Pin{Key: other, Owner: "a"}}, interrex.ErrInvalid},
		"one owner twice":        {[]command{&lease.Pin{Key: other, Owner: "a"}, &lease.Pin{Key: other, Owner: "a"}}, interrex.ErrInvalid},
		"pin and unpin of one":   {[]command{&lease.Unpin{Key: other, Owner: "z"}, &lease.Pin{Key: other, Owner: "z"}}, interrex.ErrInvalid},
		"claims of two":          {[]command{claim(k), claim(key("third"))}, ""},
		"pins of two owners":     {[]command{&lease.Pin{Key: other, Owner: "a"}, &lease.Pin{Key: other, Owner: "b"}}, ""},
		"a claim that is held":   {[]command{claim(k), claim(other)}, interrex.ErrHeld},
		"a pin of what is not":   {[]command{claim(k), &lease.Pin{Key: key("none"), Owner: "a"}}, interrex.ErrNotFound},
		"an unpin, and the same": {[]command{&lease.Unpin{Key: other, Owner: "z"}, &lease.Pin{Key: other, Owner: "y"}}, ""},
	} {
		w := newWorld(t)
		for _, c := range []command{&lease.Claim{Key: other, Holder: "bob", TTL: time.Minute}, &lease.Pin{Key: other, Owner: "z"}} {
			if _, err := w.do(c); err != nil {
				t.Fatal(err)
			}
		}
		before, revision := string(w.snapshot()), w.revision
		_, err := w.group(test.all...)
		if interrex.KindOf(err) != test.want {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && (string(w.snapshot()) != before || w.revision != revision) {
			t.Errorf("%s: it is refused, and has changed the table", name)
		}
	}
}

func TestThePinsOfAGroupAreCountedTogether(t *testing.T) {
	k := key("db")
	pin := func(owner string) command { return &lease.Pin{Key: k, Owner: owner} }
	unpin := func(owner string) command { return &lease.Unpin{Key: k, Owner: owner} }
	for name, test := range map[string]struct {
		pinned int
		all    []command
		want   interrex.Kind
	}{
		"the last, twice":       {15, []command{pin("x"), pin("y")}, interrex.ErrConflict},
		"the last":              {15, []command{pin("x")}, ""},
		"room is made before":   {16, []command{unpin("p0"), pin("x")}, ""},
		"room is made too late": {16, []command{pin("x"), unpin("p0")}, interrex.ErrConflict},
		"renewals need no room": {16, []command{pin("p0"), pin("p1")}, ""},
		"the last is lifted":    {1, []command{unpin("p0")}, ""},
		"and then pinned":       {1, []command{unpin("p0"), pin("x")}, interrex.ErrNotFound},
		"pinned before":         {1, []command{pin("x"), unpin("p0")}, ""},
		"all are lifted":        {2, []command{unpin("p0"), unpin("p1")}, ""},
	} {
		w := newWorld(t)
		if _, err := w.do(&lease.Claim{Key: k, Holder: "ann", TTL: time.Second}); err != nil {
			t.Fatal(err)
		}
		for i := range test.pinned {
			if _, err := w.do(pin(fmt.Sprint("p", i))); err != nil {
				t.Fatal(err)
			}
		}
		w.now = w.now.Add(time.Minute) // it is overdue: its last pin takes it along
		if _, err := w.group(test.all...); interrex.KindOf(err) != test.want {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
