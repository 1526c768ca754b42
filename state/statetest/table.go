package statetest

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// driven is a bare table, to which things are done without a State.
type driven struct {
	state.Table
	t    *testing.T
	l    *load
	turn state.Turn
}

func newDriven(t *testing.T, c Config, seed uint64) *driven {
	d := &driven{Table: c.New(), t: t, l: newLoad(c, seed)}
	d.turn.Table = d.ID()
	return d
}

// step lets time pass, without a tick, and does one command.
func (d *driven) step() {
	d.turn.Now = d.turn.Now.Add(time.Duration(d.l.r.Int64N(int64(d.l.c.Step) + 1)))
	d.turn.Wall = testreplica.Wall(d.turn.Now)
	data := d.l.c.Command(d.l.r, d.l.seen)
	before := bytes.Clone(data)
	d.Lock()
	defer d.Unlock()
	c, err := d.check(data)
	if err != nil {
		return
	}
	d.turn.Next()
	d.l.learn([]state.Result{{Reply: d.Apply(&d.turn, c)}})
	if !bytes.Equal(data, before) {
		d.t.Fatal("the table has changed the operation's data")
	}
}

// check decodes data and reports whether the command can be done now. The lock
// is held.
func (d *driven) check(data []byte) (state.Command, error) {
	c, err := d.Decode(data)
	if err != nil {
		return nil, err
	}
	return c, d.Check(d.turn.Now, c)
}

// oneByOne does what a group did on a table as it was before, and fails where an
// operation is one that Check refuses once those before it are done.
func oneByOne(t *testing.T, table state.Table, turn state.Turn, group []state.Part) {
	d := &driven{Table: table, t: t, turn: turn}
	d.turn.Table = table.ID()
	d.Lock()
	defer d.Unlock()
	for i, p := range group {
		c, err := d.check(p.Data)
		if err != nil {
			t.Fatalf("a group was done whose operation %d cannot be done after those before it: the table needs a CheckGroup (state.Grouper) that sees that: %v", i+1, err)
		}
		if idler, is := table.(state.Idler); is {
			if _, idle := idler.Idle(c); idle {
				continue
			}
		}
		d.turn.Next()
		d.Apply(&d.turn, c)
	}
}

// content is what a view of now writes.
func (d *driven) content() []byte { return content(d.t, d.Table) }

func content(t *testing.T, table state.Table) []byte {
	t.Helper()
	table.Lock()
	v := table.Freeze()
	table.Unlock()
	defer v.Release()
	var b bytes.Buffer
	if err := v.Write(&b); err != nil {
		t.Fatalf("cannot write a view: %v", err)
	}
	return b.Bytes()
}

// restored returns another table with what b holds.
func restored(c Config, b []byte) (state.Table, error) {
	table := c.New()
	return table, restore(table, b)
}

func restore(table state.Table, b []byte) error {
	table.Lock()
	defer table.Unlock()
	return table.Restore(table.Version(), bytes.NewReader(b))
}

func testCheckChangesNothing(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	for range c.Entries {
		d.step()
		before := d.content()
		d.Lock()
		_, err := d.check(d.l.c.Command(d.l.r, d.l.seen))
		d.Unlock()
		if !bytes.Equal(before, d.content()) {
			t.Fatal("a Check has changed the table")
		}
		if err != nil && interrex.KindOf(err) == "" {
			t.Fatalf("a refusal is an *interrex.Error, not %T: %v", err, err)
		}
	}
}

// testCommandCodec: what a table decodes is encoded as it was, is valid, and has
// a name.
func testCommandCodec(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	for range c.Entries {
		d.step()
		data := d.l.c.Command(d.l.r, d.l.seen)
		cmd, err := d.Decode(bytes.Clone(data))
		if err != nil {
			continue
		}
		if again := cmd.Append(nil); !bytes.Equal(again, data) {
			t.Fatalf("%x is decoded to %+v, which is %x", data, cmd, again)
		}
		if err := cmd.Validate(); err != nil {
			t.Fatalf("%+v is decoded, and not valid: %v", cmd, err)
		}
		if cmd.About().Name == "" {
			t.Fatalf("%+v has no name", cmd)
		}
	}
}

func testDueAndTickAgree(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	for i := range c.Entries {
		d.step()
		if i%10 != 9 {
			continue
		}
		d.Lock()
		due, found := d.Due()
		d.Unlock()
		if !found {
			continue
		}
		other, err := restored(c, d.content())
		if err != nil {
			t.Fatalf("cannot restore a view: %v", err)
		}
		d.turn.Now = max(d.turn.Now, due)
		if early := due - 1; early >= 0 {
			quiet := state.Turn{Revision: d.turn.Revision, Now: early, Table: d.ID()}
			if n := tick(other, &quiet, 10); n != 0 || quiet.Revision != d.turn.Revision {
				t.Fatalf("a tick before it is due, at %d of %d, ends %d", early, due, n)
			}
		}
		// One by one, and all at once, is the same.
		all := d.turn
		ended := tick(other, &all, 1<<20)
		if ended == 0 {
			t.Fatalf("a tick when it is due, at %d, ends nothing", d.turn.Now)
		}
		first := d.turn.Revision
		for n := range ended {
			if got := tick(d.Table, &d.turn, 1); got != 1 {
				t.Fatalf("tick %d of %d with limit 1 ends %d", n, ended, got)
			}
		}
		if int(d.turn.Revision-first) < ended || d.turn.Revision != all.Revision {
			t.Fatalf("%d endings took %d revisions, and all at once %d", ended, d.turn.Revision-first, all.Revision-first)
		}
		if !bytes.Equal(d.content(), content(t, other)) {
			t.Fatal("ticks of one do something else than one of many")
		}
		d.Lock()
		if next, found := d.Due(); found && next <= d.turn.Now {
			t.Errorf("still due at %d after the tick at %d", next, d.turn.Now)
		}
		d.Unlock()
	}
}

func tick(table state.Table, t *state.Turn, limit int) int {
	table.Lock()
	defer table.Unlock()
	return table.Tick(t, limit)
}

func testCutSnapshot(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	for range c.Entries {
		d.step()
	}
	whole := d.content()
	back, err := restored(c, whole)
	if err != nil {
		t.Fatalf("cannot restore a view: %v", err)
	}
	if !bytes.Equal(content(t, back), whole) {
		t.Fatal("what is restored is not what was written")
	}
	other := newDriven(t, c, seed+1<<32)
	for range c.Entries / 2 {
		other.step()
	}
	before := other.content()
	for range 100 {
		n := d.l.r.IntN(len(whole))
		if err := restore(other.Table, whole[:n]); err == nil {
			t.Fatalf("%d of %d bytes are taken for a whole table", n, len(whole))
		}
		if !bytes.Equal(other.content(), before) {
			t.Fatal("a Restore that has failed has changed the table")
		}
	}
	if err := restore(other.Table, append(bytes.Clone(whole), 0)); err == nil {
		t.Fatal("a byte after the end is not noticed")
	}
	if err := restore(other.Table, whole); err != nil {
		t.Fatalf("cannot restore a view into a table that is not empty: %v", err)
	}
	if !bytes.Equal(other.content(), whole) {
		t.Fatal("a Restore has left some of what the table held before")
	}
}

// testDamagedSnapshot: State verifies checksums before a table reads anything;
// what passes them by chance must not bring the process down.
func testDamagedSnapshot(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	for range c.Entries {
		d.step()
	}
	whole := d.content()
	for range 200 {
		if err := restoreFlipped(c, d.l.r, whole); err != nil {
			t.Fatal(err)
		}
	}
}

func restoreFlipped(c Config, r *rand.Rand, whole []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("restoring a damaged view panics: %v", p)
		}
	}()
	b := flipped(r, whole)
	table := c.New()
	table.Lock()
	defer table.Unlock()
	_ = table.Restore(table.Version(), io.LimitReader(bytes.NewReader(b), int64(len(b))))
	return nil
}

// flipped returns a copy with one bit changed.
func flipped(r *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) > 0 {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	return b
}

// testDamagedCommand: Decode gets whatever a caller has sent.
func testDamagedCommand(t *testing.T, c Config, seed uint64) {
	d := newDriven(t, c, seed)
	for range c.Entries {
		d.step()
		data := d.l.c.Command(d.l.r, d.l.seen)
		for _, bad := range [][]byte{data[:d.l.r.IntN(len(data)+1)], flipped(d.l.r, data), nil} {
			if err := d.checkDamaged(bad); err != nil && interrex.KindOf(err) == "" {
				t.Fatalf("the command %x: a refusal is an *interrex.Error, not %T: %v", bad, err, err)
			}
		}
	}
}

func (d *driven) checkDamaged(data []byte) error {
	d.Lock()
	defer d.Unlock()
	defer func() {
		if p := recover(); p != nil {
			d.t.Errorf("Decode or Check of the command %x panics: %v", data, p)
		}
	}()
	_, err := d.check(data)
	return err
}
