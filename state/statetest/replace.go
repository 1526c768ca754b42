package statetest

import (
	"bytes"
	"testing"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// stages reports whether the table is one whose content a restore of a file replaces.
func (d *driven) stages() bool {
	_, is := d.Table.(machine.Replacer)
	return is
}

// stage stages a section of a file.
func (d *driven) stage(b []byte) (staged any, err error) {
	d.Lock()
	defer d.Unlock()
	defer func() {
		if p := recover(); p != nil {
			d.t.Fatalf("a Stage panics: %v", p)
		}
	}()
	return d.Table.(machine.Replacer).Stage(d.Version(), bytes.NewReader(b))
}

// replace replaces the content, of a file that was saved at the time of the turn.
func (d *driven) replace(staged any, turn state.Turn) {
	d.Lock()
	defer d.Unlock()
	defer func() {
		if p := recover(); p != nil {
			d.t.Fatalf("a Replace panics: %v", p)
		}
	}()
	d.turn = state.Turn{Revision: turn.Revision, Now: turn.Now, Wall: turn.Wall, Table: turn.Table}
	d.Table.(machine.Replacer).Replace(&d.turn, staged, turn.Now)
	if n := len(d.turn.Events()); n > 0 || d.turn.Revision != turn.Revision {
		d.t.Fatalf("a Replace has emitted %d events, and taken %d revisions", n, d.turn.Revision-turn.Revision)
	}
}

// replaced returns a new table whose content is what was staged of b.
func replaced(t *testing.T, c Config, b []byte, turn state.Turn) *driven {
	t.Helper()
	d := newDriven(t, c, 0)
	staged, err := d.stage(b)
	if err != nil {
		t.Fatalf("cannot stage a view: %v", err)
	}
	d.replace(staged, turn)
	return d
}

// testReplace: a table that notes the restore itself, such as its revision, has something
// else than after a Restore already when it is empty.
func testReplace(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	if !d.stages() {
		return
	}
	for range c.Entries {
		d.step()
	}
	whole, empty, turn := d.content(), content(t, c.New()), d.turn
	turn.Next()
	want := replaced(t, c, whole, turn).content()
	if !bytes.Equal(want, whole) && bytes.Equal(replaced(t, c, empty, turn).content(), empty) {
		t.Fatal("what is replaced is not what was written")
	}
	used := newDriven(t, c, seed+1<<32)
	for range c.Entries / 2 {
		used.step()
	}
	before := used.content()
	staged, err := used.stage(whole)
	if err != nil || !bytes.Equal(used.content(), before) {
		t.Fatalf("a Stage has changed the table, or fails: %v", err)
	}
	for range c.Entries / 2 {
		used.step()
	}
	used.replace(staged, turn)
	if !bytes.Equal(used.content(), want) {
		t.Fatal("a Replace has left some of what the table held before")
	}
	used.goesOn(c, want, seed)
}

// goesOn fails the test unless the table does the same as one that is restored.
func (d *driven) goesOn(c Config, b []byte, seed uint64) {
	d.t.Helper()
	other, err := restored(c, b)
	if err != nil {
		d.t.Fatalf("cannot restore what was replaced: %v", err)
	}
	one := &driven{Table: d.Table, t: d.t, l: newLoad(c, seed), turn: d.turn}
	two := &driven{Table: other, t: d.t, l: newLoad(c, seed), turn: d.turn}
	for range c.Entries / 2 {
		one.step()
		two.step()
		at, is := one.Due()
		if want, wants := two.Due(); at != want || is != wants {
			d.t.Fatalf("after a Replace the table is due at %d (%t), and after a Restore at %d (%t)", at, is, want, wants)
		}
	}
	if !bytes.Equal(one.content(), two.content()) {
		d.t.Fatal("after a Replace the table does something else than after a Restore")
	}
}

// testDamagedStage: State verifies checksums before a table reads anything, also while a
// file arrives.
func testDamagedStage(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	if !d.stages() {
		return
	}
	for range c.Entries {
		d.step()
	}
	whole := d.content()
	for range 100 {
		n := d.l.r.IntN(len(whole))
		if _, err := d.stage(whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes are staged as a whole table", n, len(whole))
		}
		if staged, err := d.stage(flipped(d.l.r, whole)); err == nil {
			newDriven(t, c, seed).replace(staged, d.turn)
		}
	}
	if _, err := d.stage(append(bytes.Clone(whole), 0)); err == nil {
		t.Fatal("a Stage does not notice a byte after the end")
	}
	if !bytes.Equal(d.content(), whole) {
		t.Fatal("a Stage has changed the table")
	}
}
