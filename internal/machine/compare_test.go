package machine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

func compare() state.Operation {
	return state.Operation{Table: machine.SystemTable, Data: (&machine.Compare{}).Append(nil)}
}

// compared is a state that keeps the hashes of each of its comparisons.
type compared struct {
	*machine.State
	t      *testing.T
	index  uint64
	frozen []*machine.Frozen
}

func newCompared(t *testing.T, tables func() []state.Table) *compared {
	c := &compared{t: t}
	var err error
	c.State, err = machine.New(machine.Config{Tables: tables(), Frozen: func(f *machine.Frozen) { c.frozen = append(c.frozen, f) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (c *compared) do(now state.Time, ops ...state.Operation) []state.Result {
	c.index++
	e := &machine.Entry{Stamp: now, Wall: testreplica.Wall(now), Operations: ops}
	results, _ := c.Apply(&raft.Log{Type: raft.LogCommand, Index: c.index, Term: 3, Data: e.Append(nil)}).([]state.Result)
	return results
}

// hashes returns those of the newest comparison.
func (c *compared) hashes() []interrex.StateSection {
	c.t.Helper()
	if len(c.frozen) == 0 {
		c.t.Fatal("nothing was frozen")
	}
	f := c.frozen[len(c.frozen)-1]
	defer f.Release()
	all, err := f.Hashes(func() error { return nil })
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

func (c *compared) fill() {
	c.do(1, setIdentity(identity(cluster)))
	c.do(1, state.Operation{Table: machine.SystemTable, Caller: "ann", Data: (&machine.OpenName{Bits: 1}).Append(nil)})
	c.do(1, cli(7, 5), cli(9, 6), request("plain", "b"))
	c.do(state.Time(time.Second), set("a", "one"))
}

func TestOneLogMakesOneHash(t *testing.T) {
	a, b := newCompared(t, register), newCompared(t, register)
	for _, c := range []*compared{a, b} {
		c.fill()
		c.do(state.Time(time.Second), compare())
	}
	got := a.hashes()
	if !reflect.DeepEqual(got, b.hashes()) {
		t.Error("two states of one log differ")
	}
	if len(got) != 2 || got[0].Name != "state" || got[0].Version != 5 || got[1].Name != "register-256" || got[1].Version != 1 {
		t.Errorf("the sections are %+v", got)
	}
}

func TestARestoredStateHasTheSameHash(t *testing.T) {
	a, b := newCompared(t, register), newCompared(t, register)
	a.fill()
	if err := b.Restore(io.NopCloser(bytes.NewReader(snapshotOf(t, a.State)))); err != nil {
		t.Fatal(err)
	}
	b.index = a.index
	for _, c := range []*compared{a, b} {
		c.do(state.Time(2*time.Second), set("late", "two"), compare())
	}
	if !reflect.DeepEqual(a.hashes(), b.hashes()) {
		t.Error("a state that was restored differs")
	}
}

func TestOneSectionDiffers(t *testing.T) {
	a, b := newCompared(t, register), newCompared(t, register)
	a.fill()
	b.fill()
	a.do(state.Time(time.Second), set("k", "left"), compare())
	b.do(state.Time(time.Second), set("k", "lefT"), compare())
	one, other := a.hashes(), b.hashes()
	if one[0] != other[0] || one[1] == other[1] {
		t.Errorf("%x and %x", one, other)
	}
}

// What is compared is the state after the whole entry, and nothing later.
func TestTheStateIsFrozenAfterItsEntry(t *testing.T) {
	a, b := newCompared(t, register), newCompared(t, register)
	for _, c := range []*compared{a, b} {
		c.fill()
		before := c.Revision()
		results := c.do(state.Time(time.Second), compare(), set("k", "in the entry"))
		want := machine.ComparedEntry{Index: c.index, Term: 3}
		if results[0].Reply != want || results[0].Err != nil || c.frozen[0].Entry != want || c.frozen[0].Revision != before+1 {
			t.Fatalf("%+v, frozen at %+v, revision %d after %d", results[0], c.frozen[0].Entry, c.frozen[0].Revision, before)
		}
	}
	b.do(state.Time(time.Second), set("k", "later"))
	if !reflect.DeepEqual(a.hashes(), b.hashes()) {
		t.Error("a later entry is in what was frozen")
	}
	b.do(state.Time(time.Second), compare())
	if reflect.DeepEqual(a.hashes(), b.hashes()) {
		t.Error("another content has the same hashes")
	}
}

func TestAComparisonChangesNothing(t *testing.T) {
	c, without := newCompared(t, register), testreplica.New(t, register)
	c.fill()
	_, _, before := machine.Unframe(snapshotOf(t, c.State))
	c.do(state.Time(time.Second), compare())
	if _, _, after := machine.Unframe(snapshotOf(t, c.State)); !reflect.DeepEqual(before, after) {
		t.Error("a comparison is in the snapshot")
	}
	if r := without.Do(1, compare()); r[0].Err != nil || without.State.Revision() != 0 {
		t.Errorf("a state that is not compared: %+v", r)
	}
	refused := state.Operation{Table: machine.SystemTable, Data: append((&machine.Compare{}).Append(nil), 1)}
	if r := c.do(1, refused); interrex.KindOf(r[0].Err) != interrex.ErrInvalid || len(c.frozen) != 1 {
		t.Errorf("with bytes behind it: %+v", r)
	}
}

// aside is a table that takes no part.
type aside struct{ *testtable.Register }

func (aside) Uncompared()          {}
func (a aside) Freeze() state.View { panic("it is frozen") }

func TestATableMayTakeNoPart(t *testing.T) {
	c := newCompared(t, func() []state.Table {
		return []state.Table{aside{testtable.NewRegister()}, testtable.NewRegisterAs(300)}
	})
	c.fill()
	c.do(2, compare())
	if got := c.hashes(); len(got) != 2 || got[1].Name != "register-300" {
		t.Errorf("%+v, halted: %v", got, c.Halted())
	}
}

func TestHashingGoesByStepsAndEndsWithTheError(t *testing.T) {
	c := newCompared(t, register)
	for i := range 300 {
		c.do(1, set(fmt.Sprint("k", i), strings.Repeat("x", 1000)))
	}
	c.do(2, compare())
	steps := 0
	if _, err := c.frozen[0].Hashes(func() error { steps++; return nil }); err != nil || steps < 3 || steps > 6 {
		t.Errorf("%d steps, %v", steps, err)
	}
	enough := errors.New("enough")
	if all, err := c.frozen[0].Hashes(func() error { steps--; return enough }); all != nil || !errors.Is(err, enough) || steps < 2 {
		t.Errorf("%v, %v", all, err)
	}
}

func snapshotOf(t *testing.T, s *machine.State) []byte {
	t.Helper()
	f, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Release()
	var sink testtable.Sink
	if err := f.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	return sink.Bytes()
}
