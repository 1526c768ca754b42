package machine_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file that must never change: it represents the logs
// and snapshots that are on disks already.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: the encoding has changed: %x, and was %x", file, got, want)
	}
}

func exampleEntry() *machine.Entry {
	return &machine.Entry{
		Version: machine.OldestEntry, Stamp: 12345678901, Wall: testreplica.Wall(12345678901),
		Operations: []state.Operation{
			{Table: testtable.RegisterTable, Data: testtable.Set("a", "plain", 0)},
			{
				Table: testtable.RegisterTable, Caller: "ann", RequestID: cliName + ".7", Attempt: 2, Mark: 5,
				Fence: interrex.Fence{Key: interrex.Key{Namespace: "mine", Name: "leader"}, Token: 9},
				Data:  testtable.Set("b", "all of the envelope", time.Minute),
			},
			{Table: machine.SystemTable, Caller: "ann", Data: (&machine.Retire{Name: cliName, Mark: 9}).Append(nil)},
			{Table: machine.SystemTable, Origin: "10.0.0.7", Data: (&machine.OpenName{Bits: 0xfeed}).Append(nil)},
			{Table: testtable.RegisterTable, Origin: "10.0.0.7", RequestID: "plain", Attempt: 1, Since: 300, Data: testtable.Set("c", "a record by itself", 0)},
		},
	}
}

func TestEntryEncodingIsFixed(t *testing.T) {
	b := exampleEntry().Append(nil)
	golden(t, "entry.golden", b)
	e, err := machine.DecodeEntry(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&e, exampleEntry()) {
		t.Fatalf("decoded: %+v", e)
	}
}

// exampleGroup is beside exampleEntry, whose bytes are older.
func exampleGroup() *machine.Entry {
	return &machine.Entry{
		Version: machine.OldestEntry, Stamp: 12345678902, Wall: testreplica.Wall(12345678902),
		Operations: []state.Operation{
			{Group: []state.Part{{Table: testtable.RegisterTable, Data: testtable.Set("a", "alone", 0)}}},
			{
				Caller: "ann", RequestID: cliName + ".8", Attempt: 1, Mark: 5,
				Fence: interrex.Fence{Key: interrex.Key{Namespace: "mine", Name: "leader"}, Token: 9},
				Group: []state.Part{
					{Table: testtable.RegisterTable, Data: testtable.Set("b", "minted", 0), Minted: []byte{1, 2, 3}},
					{Table: testtable.RegisterTable, Data: testtable.Delete("c")},
				},
			},
		},
	}
}

func TestGroupEncodingIsFixed(t *testing.T) {
	b := exampleGroup().Append(nil)
	golden(t, "group.golden", b)
	e, err := machine.DecodeEntry(b)
	if err != nil || !reflect.DeepEqual(&e, exampleGroup()) {
		t.Fatalf("decoded: %+v, %v", e, err)
	}
	for n := range b {
		if _, err := machine.DecodeEntry(b[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for an entry", n, len(b))
		}
	}
}

func TestEntrySurvivesItsEncoding(t *testing.T) {
	text := rapid.StringN(0, 20, 64)
	part := rapid.Custom(func(t *rapid.T) state.Part {
		p := state.Part{Table: state.TableID(rapid.Uint16().Draw(t, "table")), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data")}
		if minted := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "minted"); len(minted) > 0 {
			p.Minted = minted
		}
		return p
	})
	operation := rapid.Custom(func(t *rapid.T) state.Operation {
		op := state.Operation{
			Table: state.TableID(rapid.Uint16().Draw(t, "table")), Caller: text.Draw(t, "caller"), Origin: text.Draw(t, "origin"), Since: interrex.Revision(rapid.Uint64().Draw(t, "since")),
			RequestID: text.Draw(t, "request"), Attempt: rapid.Uint32().Draw(t, "attempt"), Mark: rapid.Uint64().Draw(t, "mark"),
			Fence: interrex.Fence{
				Key:   interrex.Key{Namespace: text.Draw(t, "namespace"), Name: text.Draw(t, "name")},
				Token: interrex.Token(rapid.Uint64().Draw(t, "token")),
			},
			Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		}
		if rapid.Bool().Draw(t, "group") {
			op.Table, op.Data, op.Group = 0, nil, rapid.SliceOfN(part, 1, 9).Draw(t, "parts")
		}
		return op
	})
	rapid.Check(t, func(t *rapid.T) {
		e := machine.Entry{
			Version:    machine.EntryVersion,
			Stamp:      state.Time(rapid.Int64().Draw(t, "stamp")),
			Wall:       time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC(),
			Operations: rapid.SliceOfN(operation, 1, 9).Draw(t, "operations"),
		}
		b := e.Append(nil)
		size := 64
		for i := range e.Operations {
			size += e.Operations[i].Size()
		}
		if len(b) > size {
			t.Fatalf("%d bytes, more than the sizes say: %d", len(b), size)
		}
		got, err := machine.DecodeEntry(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("%+v\nis not\n%+v", got, e)
		}
	})
}

func TestDecodeEntryRefusesWhatItDoesNotKnow(t *testing.T) {
	whole := exampleEntry().Append(nil)
	newer, older := bytes.Clone(whole), bytes.Clone(whole)
	newer[0], older[0] = machine.EntryVersion+1, machine.OldestEntry-1
	one := (&machine.Entry{Operations: []state.Operation{{Table: 1}}}).Append(nil)
	kind := bytes.Clone(one)
	kind[len(kind)-4] = 3 // kind, flags, table, length of the data
	empty := bytes.Clone(one)
	empty[len(empty)-4], empty[len(empty)-2] = 2, 0
	flags := bytes.Clone(one)
	flags[len(flags)-3] = 0x80
	minted := (&machine.Entry{Operations: []state.Operation{{Group: []state.Part{{Table: 1}}}}}).Append(nil)
	minted[len(minted)-5] = 0x08 // flags, count, table, lengths of minted and of the data
	many := (&machine.Entry{Operations: make([]state.Operation, limits.MaxOperations+1)}).Append(nil)
	for want, b := range map[string][]byte{
		"unknown version 6":     newer,
		"unknown version 2":     older,
		"unknown kind 3":        kind,
		"without operations":    empty[:len(empty)-1],
		"of groups it has more": (&machine.Entry{Operations: slices.Repeat([]state.Operation{{Group: make([]state.Part, 64)}}, 17)}).Append(nil),
		"unknown flags 0x80":    flags,
		"unknown flags 0x8":     minted,
		"it has bytes after":    append(bytes.Clone(whole), 0),
		"more than 1024":        many,
		"bytes, more than":      make([]byte, limits.MaxEntryBytes+1),
		"a count is larger":     whole[:len(whole)-1],
		"it has a malformed nu": {machine.EntryVersion},
		"it ends too early":     {},
	} {
		if _, err := machine.DecodeEntry(b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
	}
	for n := range whole {
		if _, err := machine.DecodeEntry(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for an entry", n, len(whole))
		}
	}
}

func TestTheLargestBatchFitsIntoAnEntry(t *testing.T) {
	e := &machine.Entry{}
	for size := 0; size < limits.BatchBytes; {
		op := state.Operation{Table: 1, Data: make([]byte, 1<<10)}
		if limits.BatchBytes-size <= op.Size() {
			op.Data = make([]byte, limits.MaxOperationBytes-64)
		}
		if err := op.Validate(); err != nil {
			t.Fatal(err)
		}
		size += op.Size()
		e.Operations = append(e.Operations, op)
	}
	if _, err := machine.DecodeEntry(e.Append(nil)); err != nil {
		t.Fatal(err)
	}
}

func TestOperationIsValidatedBeforeItIsProposed(t *testing.T) {
	for _, c := range []struct {
		op   state.Operation
		kind interrex.Kind
	}{
		{state.Operation{Caller: strings.Repeat("c", machine.MaxCaller), RequestID: strings.Repeat("r", 64)}, ""},
		{state.Operation{Caller: strings.Repeat("c", machine.MaxCaller+1)}, interrex.ErrInvalid},
		{state.Operation{RequestID: strings.Repeat("r", 65)}, interrex.ErrInvalid},
		{state.Operation{Fence: interrex.Fence{Token: 1}}, interrex.ErrInvalid},
		{state.Operation{Data: make([]byte, limits.MaxOperationBytes)}, interrex.ErrTooLarge},
		{state.Operation{Group: slices.Repeat([]state.Part{{Table: 1}}, limits.MaxGroup)}, ""},
		{state.Operation{Group: slices.Repeat([]state.Part{{Table: 1}}, limits.MaxGroup+1)}, interrex.ErrInvalid},
		{state.Operation{Group: []state.Part{{Table: 1}, {Table: machine.SystemTable}}}, interrex.ErrInvalid},
		{state.Operation{Table: 1, Group: []state.Part{{Table: 1}}}, interrex.ErrInvalid},
		{state.Operation{Data: []byte{1}, Group: []state.Part{{Table: 1}}}, interrex.ErrInvalid},
		{state.Operation{Group: []state.Part{{Table: 1, Minted: make([]byte, limits.MaxMinted+1)}}}, interrex.ErrInvalid},
		{state.Operation{Group: slices.Repeat([]state.Part{{Table: 1, Data: make([]byte, limits.MaxOperationBytes/2)}}, 2)}, interrex.ErrTooLarge},
	} {
		if got := interrex.KindOf(c.op.Validate()); got != c.kind {
			t.Errorf("%.40v: %q, want %q", c.op, got, c.kind)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add(exampleEntry().Append(nil))
	f.Add(exampleGroup().Append(nil))
	f.Add((&machine.Entry{}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := machine.DecodeEntry(b)
		if err != nil {
			return
		}
		again, err := machine.DecodeEntry(e.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%+v\nis not\n%+v", again, e)
		}
	})
}

// FuzzApply: no bytes in the log bring a replica down or make two differ.
func FuzzApply(f *testing.F) {
	f.Add(exampleEntry().Append(nil))
	f.Add(exampleGroup().Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, two := testreplica.New(t, register), testreplica.New(t, register)
		for _, r := range []*testreplica.Replica{one, two} {
			r.Do(1, set("a", "before"))
			r.ApplyBytes(b)
			r.Do(2, set("a", "after"))
		}
		if one.State.Halted() == nil && !bytes.Equal(one.Snapshot(), two.Snapshot()) {
			t.Fatal("two replicas differ")
		}
	})
}
