package resource_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/golden"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
)

// goldenCommands are one of each, with every field set.
func goldenCommands() []state.Command {
	owner, lease := uid(in(id("test.v1.Rack", "r/1"), "p", "n"), "o1"), fence("team/db", 300)
	at := uid(in(id("test.example.v2.Server", "web/1"), "p", "n"), "u1")
	return []state.Command{
		&resource.Write{
			ID: at, Owner: &owner, OwnerLease: &lease, Version: "17", Generation: "g1",
			Metadata: metadata(map[string]string{"zone": "a", "addr": "[::1]:80"}), Data: text("hello"), Strict: true,
		},
		&resource.Delete{ID: at, Version: "17", Strict: true},
		&resource.Clear{Selection: interrex.ResourceSelection{Type: interrex.ResourceType{Group: "test.example", Kind: "Server"}, Tenancy: at.Tenancy, NamePrefix: "web/"}},
		&resource.Check{ID: at, Version: "7"},
	}
}

// goldenWorld has a resource of every shape.
func goldenWorld(t testing.TB) *world {
	w := newWorld(t)
	w.held[fence("team/db", 300)] = true
	full := *goldenCommands()[0].(*resource.Write)
	full.Version = ""
	w.must(&full)
	w.must(&resource.Write{ID: web, Data: text("plain")})
	w.must(&resource.Write{ID: id("test.v1.Server", "empty")})
	return w
}

func decode(data []byte) (state.Command, error) { return resource.New().Decode(data) }

func TestEncodingOfCommandsStays(t *testing.T) {
	for _, c := range goldenCommands() {
		golden.Check(t, c.About().Name, c.Append(nil))
		back, err := decode(c.Append(nil))
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Errorf("%#v comes back as %#v, %v", c, back, err)
		}
	}
}

func TestEncodingOfSnapshotReplyAndEventStays(t *testing.T) {
	w := goldenWorld(t)
	golden.Check(t, "snapshot", w.snapshot())
	w.restart()
	golden.Check(t, "event", w.table.AppendEvent(nil, w.events[0].Value))
	first := w.events[0].Value.(*resource.Record)
	golden.Check(t, "reply", w.table.AppendReply(nil, &resource.Reply{Revision: first.Revision, UID: first.ID.UID, Generation: first.Generation, Owner: first.Owner}))
}

func TestCommandThatIsCutOrLongerIsInvalid(t *testing.T) {
	for _, c := range goldenCommands() {
		whole := c.Append(nil)
		for n := range whole {
			if _, err := decode(whole[:n]); interrex.KindOf(err) != interrex.ErrInvalid {
				t.Errorf("%d bytes of %#v: %v", n, c, err)
			}
		}
		if _, err := decode(append(whole, 0)); interrex.KindOf(err) != interrex.ErrInvalid {
			t.Errorf("one byte more than %#v: %v", c, err)
		}
	}
	if _, err := decode([]byte{99, 0}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("unknown operation: %v", err)
	}
}

func TestRestoreRefusesDamage(t *testing.T) {
	w := goldenWorld(t)
	whole := w.snapshot()
	keep := resource.New()
	if err := keep.Restore(1, bytes.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if keep.Restore(1, bytes.NewReader(whole[:n])) == nil {
			t.Errorf("%d of %d bytes are taken for a snapshot", n, len(whole))
		}
	}
	if keep.Restore(1, bytes.NewReader(append(whole, 0))) == nil {
		t.Error("one byte more is taken for a snapshot")
	}
	if keep.Restore(2, bytes.NewReader(whole)) == nil {
		t.Error("another version is taken for this one")
	}
	one := newWorld(t)
	one.must(&resource.Write{ID: web})
	item := one.snapshot()[1:]
	item = item[:len(item)-1] // without the owners that are gone
	twice := append(append(append([]byte{2}, item...), item...), 0)
	if err := keep.Restore(1, bytes.NewReader(twice)); err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("one resource twice: %v", err)
	}
	never := *one.get(web)
	never.Revision = 0
	if _, err := keep.DecodeEvent(keep.AppendEvent(nil, &never)); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("a resource that was never written: %v", err)
	}
	w.use(keep)
	if !bytes.Equal(w.snapshot(), whole) {
		t.Error("a restore that failed has changed the table")
	}
}

func TestOwnersThatAreGoneAreReadInOrder(t *testing.T) {
	snapshot := func(setting string) []byte {
		w := newWorld(t)
		w.configure(map[string]string{"resources.owner-deletion": setting})
		w.must(&resource.Write{ID: web})
		w.must(&resource.Write{ID: id("test.v1.Disk", "d"), Owner: &web})
		w.must(&resource.Delete{ID: web})
		return w.snapshot()
	}
	without, whole := snapshot("none"), snapshot("*")
	rows := without[:len(without)-1] // it is followed by the number of orphans, 0
	gone := whole[len(rows)+1:]
	table := resource.New()
	for text, tail := range map[string][]byte{
		"owns nothing": {1, 2, 1, 'x'},
		"out of order": append(append([]byte{2}, gone...), gone...),
	} {
		if err := table.Restore(1, bytes.NewReader(append(bytes.Clone(rows), tail...))); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, want %q", err, text)
		}
	}
	if err := table.Restore(1, bytes.NewReader(whole)); err != nil {
		t.Error(err)
	}
}

// What a table keeps is not what it was given: a log entry's bytes are used
// again by nobody, and must not be kept alive either.
func TestARowKeepsNothingOfTheCommand(t *testing.T) {
	w := newWorld(t)
	data := (&resource.Write{ID: web, Data: text("hello"), Metadata: metadata(map[string]string{"a": "b"})}).Append(nil)
	c, err := w.table.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	turn := w.turn()
	turn.Next()
	w.table.Apply(turn, c)
	if r := w.get(web); string(r.Data.Value) != "hello" || r.ID != uid(web, r.ID.UID) || r.Metadata.Map()["a"] != "b" {
		t.Errorf("%+v", r)
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range goldenCommands() {
		f.Add(c.Append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decode(data)
		if err != nil {
			if k := interrex.KindOf(err); k != interrex.ErrInvalid && k != interrex.ErrTooLarge {
				t.Fatalf("kind %q: %v", k, err)
			}
			return
		}
		if back := c.Append(nil); !bytes.Equal(back, data) {
			t.Fatalf("%x decodes to %#v, which is %x", data, c, back)
		}
		w := goldenWorld(t)
		w.do(c) //nolint:errcheck // it may be refused; it may not panic
		w.restart()
	})
}

func FuzzRestore(f *testing.F) {
	seed := goldenWorld(f).snapshot()
	if err := resource.New().Restore(resource.New().Version(), bytes.NewReader(seed)); err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, data []byte) {
		table := resource.New()
		if table.Restore(table.Version(), bytes.NewReader(data)) != nil {
			return
		}
		w := newWorld(t)
		w.use(table)
		w.restart()
	})
}

func FuzzDecodeReply(f *testing.F) {
	w := goldenWorld(f)
	f.Add(w.table.AppendReply(nil, &resource.Reply{}))
	f.Add(w.table.AppendReply(nil, &resource.Reply{Revision: 3, UID: "u", Generation: "g", Owner: &interrex.ResourceID{Name: "o"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := w.table.DecodeReply(data)
		if err == nil && !bytes.Equal(w.table.AppendReply(nil, r), data) {
			t.Fatalf("%x decodes to %+v, which is other bytes", data, r)
		}
	})
}

func FuzzDecodeEvent(f *testing.F) {
	w := goldenWorld(f)
	for _, e := range w.events {
		f.Add(w.table.AppendEvent(nil, e.Value))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := w.table.DecodeEvent(data)
		if err == nil && !bytes.Equal(w.table.AppendEvent(nil, v), data) {
			t.Fatalf("%x decodes to %+v, which is other bytes", data, v)
		}
	})
}
