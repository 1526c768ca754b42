package resource_test

import (
	"fmt"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
)

// tick is an entry in which time passes; it returns what has ended.
func (w *world) tick(limit int) []string {
	w.t.Helper()
	first := len(w.events)
	if _, due := w.table.Due(); due {
		turn := w.turn()
		if n := w.table.Tick(turn, limit); n != len(turn.Events()) || n > limit {
			w.t.Errorf("Tick says %d, and has %d events, of %d at most", n, len(turn.Events()), limit)
		}
		w.finish(turn)
	}
	var gone []string
	for _, e := range w.events[first:] {
		gone = append(gone, e.Key)
	}
	return gone
}

func TestWhatIsOwnedGoesWithItsOwner(t *testing.T) {
	for setting, goes := range map[string]bool{"none": false, "*": true, "test.Server": true, "test.Other,test.Server": true, "test.Other": false} {
		w := newWorld(t)
		w.configure(map[string]string{"resources.owner-deletion": setting})
		owner := w.must(&resource.Write{ID: web})
		for i := range 5 {
			w.must(&resource.Write{ID: id("test.v1.Disk", fmt.Sprint(i)), Owner: &web})
		}
		of := uid(id("test.v1.Disk", "0"), w.get(id("test.v1.Disk", "0")).ID.UID)
		w.must(&resource.Write{ID: id("test.v1.Part", "p"), Owner: &of})
		w.must(&resource.Write{ID: id("test.v1.Disk", "free")})
		if _, due := w.table.Due(); due {
			t.Error("it is due before the owner is gone")
		}
		before := w.revision
		w.must(&resource.Delete{ID: uid(web, owner.UID)})
		if got := w.get(id("test.v1.Disk", "0")); got == nil {
			t.Error("it goes in the same operation")
		}
		gone := len(w.tick(2))
		w.restart() // it goes on after one
		w.configure(map[string]string{"resources.owner-deletion": setting})
		for more := 1; more > 0; {
			more = len(w.tick(2))
			gone += more
		}
		want := 0
		if goes {
			want = 5
		}
		if setting == "*" {
			want = 6 // and what is owned by what was owned
		}
		if gone != want || w.revision != before+1+interrex.Revision(want) {
			t.Errorf("%s: %d are gone, want %d; revision %d after %d", setting, gone, want, w.revision, before)
		}
		if w.get(id("test.v1.Disk", "free")) == nil {
			t.Errorf("%s: one without an owner is gone", setting)
		}
	}
}

func TestAnOwnerThatIsGoneTakesNothingMore(t *testing.T) {
	w := newWorld(t)
	w.configure(map[string]string{"resources.owner-deletion": "*"})
	owner := uid(web, w.must(&resource.Write{ID: web}).UID)
	w.must(&resource.Write{ID: id("test.v1.Disk", "a"), Owner: &owner})
	w.must(&resource.Delete{ID: web})
	// Another operation deletes what it owned, before its time comes.
	w.must(&resource.Delete{ID: id("test.v1.Disk", "a")})
	if _, due := w.table.Due(); due {
		t.Error("something is due")
	}
	w.restart()
	w.configure(map[string]string{"resources.owner-deletion": "*"})
	w.refused(&resource.Write{ID: id("test.v1.Disk", "b"), Owner: &owner}, interrex.ErrInvalid)
	w.configure(map[string]string{"resources.owner-deletion": "none"})
	w.must(&resource.Write{ID: id("test.v1.Disk", "b"), Owner: &owner})
}

func TestAnOrphanThatGetsAnotherOwnerStays(t *testing.T) {
	w := newWorld(t)
	w.configure(map[string]string{"resources.owner-deletion": "*"})
	w.must(&resource.Write{ID: web})
	disk := id("test.v1.Disk", "d")
	reply := w.must(&resource.Write{ID: disk, Owner: &web})
	w.must(&resource.Delete{ID: web})
	other := uid(id("test.v1.Server", "other"), "o")
	w.must(&resource.Write{ID: uid(disk, reply.UID), Version: reply.Revision.String(), Owner: &other, Strict: true})
	if _, due := w.table.Due(); due {
		t.Error("an owner that owns nothing is due")
	}
	if gone := w.tick(10); len(gone) != 0 {
		t.Errorf("%v go", gone)
	}
}

func TestAnOwnerOfAnotherLifeIsRefused(t *testing.T) {
	w := newWorld(t)
	w.configure(map[string]string{"resources.owner-deletion": "test.Server"})
	w.must(&resource.Write{ID: web})
	other := uid(web, "another life")
	w.refused(&resource.Write{ID: id("test.v1.Disk", "d"), Owner: &other}, interrex.ErrInvalid)
}

func TestTheSettingOfOwnerDeletionIsChecked(t *testing.T) {
	for _, s := range resource.New().Settings() {
		if s.Name != "resources.owner-deletion" {
			continue
		}
		for value, good := range map[string]bool{"none": true, "*": true, "a.B": true, "a.b.C,d.E": true, "": false, "B": false, "a.B,": false, "a.B, c.D": false, "a.*": false} {
			if err := s.Check(value); (err == nil) != good {
				t.Errorf("%q: %v", value, err)
			}
		}
		return
	}
	t.Error("there is no such setting")
}

func TestAnOverwriteTakesWhateverIsStored(t *testing.T) {
	w := newWorld(t)
	first := w.must(&resource.Write{ID: web, Overwrite: true})
	second := w.must(&resource.Write{ID: web, Overwrite: true, Data: text("x")})
	if second.UID != first.UID || second.Revision == first.Revision || second.Generation == first.Generation {
		t.Errorf("%+v after %+v", second, first)
	}
	w.refused(&resource.Write{ID: uid(web, "other"), Overwrite: true}, interrex.ErrWrongUID)
	w.refused(&resource.Write{ID: web, Overwrite: true, Version: second.Revision.String()}, interrex.ErrInvalid)
	w.refused(&resource.Write{ID: web, Overwrite: true, Strict: true}, interrex.ErrInvalid)
}

func TestAClearRemovesAllWithAPrefixOrNone(t *testing.T) {
	w := newWorld(t)
	for i := range resource.MaxCleared + 1 {
		w.must(&resource.Write{ID: id("test.v1.Server", fmt.Sprintf("a/%04d", i))})
	}
	other := id("test.v1.Server", "a/0000")
	other.Tenancy.Namespace = "other"
	w.must(&resource.Write{ID: other})
	w.must(&resource.Write{ID: id("test.v1.Disk", "a/0000")})
	clear := func(prefix string) *resource.Clear {
		return &resource.Clear{Selection: interrex.ResourceSelection{Type: web.Type, Tenancy: web.Tenancy, NamePrefix: prefix}}
	}
	w.refused(clear("a/"), interrex.ErrTooLarge)
	before, first := w.revision, len(w.events)
	if reply := w.must(clear("a/000")); reply.Cleared != 10 || w.revision != before+10 {
		t.Errorf("%+v, revision %d after %d", reply, w.revision, before)
	}
	for i, e := range w.events[first:] {
		if e.Kind != interrex.ResourceDeleted || e.Revision != before+1+interrex.Revision(i) {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if reply := w.must(clear("b")); reply.Cleared != 0 || w.revision != before+10 {
		t.Errorf("of nothing: %+v, revision %d", reply, w.revision)
	}
	if reply := w.must(clear("")); reply.Cleared != resource.MaxCleared+1-10 {
		t.Errorf("of all: %+v", reply)
	}
	if w.get(other) == nil || w.get(id("test.v1.Disk", "a/0000")) == nil {
		t.Error("others are gone")
	}
	wild := clear("")
	wild.Selection.Tenancy.Namespace = "*"
	w.refused(wild, interrex.ErrInvalid)
}

func TestAClearStandsInNoGroup(t *testing.T) {
	w := newWorld(t)
	clear := &resource.Clear{Selection: interrex.ResourceSelection{Type: web.Type, Tenancy: web.Tenancy}}
	if err := w.table.CheckGroup(0, []state.Command{clear, &resource.Write{ID: web}}); interrex.KindOf(err) != interrex.ErrInvalid {
		t.Errorf("%v", err)
	}
}
