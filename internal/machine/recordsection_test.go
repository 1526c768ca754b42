package machine_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/state"
)

// section reads the state's own section of a snapshot without the help of
// package state. It panics where the section ends too early.
type section struct{ b []byte }

func (s *section) number() uint64 {
	v, n := binary.Uvarint(s.b)
	s.b = s.b[n:]
	return v
}

func (s *section) time() state.Time {
	v, n := binary.Varint(s.b)
	s.b = s.b[n:]
	return state.Time(v)
}

func (s *section) bytes() []byte {
	n := s.number()
	b := s.b[:n]
	s.b = s.b[n:]
	return b
}

// contents are the checksums of each content, over a whole run.
type contents map[string]uint64

// checkSnapshot compares the marks and records in a snapshot with the model's.
func checkSnapshot(t *testing.T, snapshot []byte, tables []state.Table, want *modelRecords, settings map[string]string, sums contents) {
	t.Helper()
	_, _, all := machine.Unframe(snapshot)
	s := &section{all[0]}
	s.bytes()  // cluster ID
	s.number() // epoch
	s.number()
	s.number() // incarnations: none
	set := map[string]string{}
	for range s.number() {
		name := string(s.bytes())
		set[name] = string(s.bytes())
	}
	for name, value := range settings {
		if value != modelDefaults[name] && set[name] != value || value == modelDefaults[name] && set[name] != "" {
			t.Errorf("setting %s is %q, want %q", name, set[name], value)
		}
	}
	s.number() // of a recovery: there was none
	s.number()
	s.time()
	if lost := s.number(); lost != uint64(want.lost) {
		t.Errorf("%d is lost with names, want %d", lost, want.lost)
	}
	if got := s.number(); got != uint64(len(want.names)) {
		t.Errorf("%d names, want %d", got, len(want.names))
		return
	}
	names := slices.SortedFunc(maps.Values(want.names), func(a, b *modelName) int {
		return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.revision, b.revision))
	})
	for _, n := range names {
		caller, bits := string(s.bytes()), s.eight()
		revision, user := s.number(), string(s.bytes())
		mark, last, count := s.number(), s.time(), s.number()
		if caller != n.caller || bits != n.bits || revision != uint64(n.revision) || user != n.user || mark != n.mark || last != n.last || count != uint64(len(n.records)) {
			t.Errorf("name %d-%x of %q, user %q, has mark %d, last %d and %d records; want %+v", revision, bits, caller, user, mark, last, count, n)
			return
		}
		for _, number := range slices.Sorted(mapKeys(n.records)) {
			s.checkRecord(t, number, n.records[number], tables, sums)
		}
	}
	if lost, early := s.number(), s.time(); lost != uint64(want.lostOne) || early != want.early {
		t.Errorf("%d of other ids is lost, until %d; want %d and %d", lost, early, want.lostOne, want.early)
	}
	if got := s.number(); got != uint64(len(want.singles)) {
		t.Errorf("%d records of other ids, want %d", got, len(want.singles))
		return
	}
	for _, single := range want.singles {
		k := singleKey{string(s.bytes()), string(s.bytes()), string(s.bytes())}
		if user, at := string(s.bytes()), s.time(); k != single.key || user != single.user || at != single.at {
			t.Errorf("the record of %v is of %d, want %v of %d", k, at, single.key, single.at)
			return
		}
		s.checkRecord(t, 0, single.modelRecord, tables, sums)
	}
	if len(s.b) > 0 {
		t.Errorf("%d bytes after the end", len(s.b))
	}
}

func mapKeys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (s *section) eight() uint64 {
	v := binary.BigEndian.Uint64(s.b)
	s.b = s.b[8:]
	return v
}

func (s *section) checkRecord(t *testing.T, wantNumber uint64, want modelRecord, tables []state.Table, sums contents) {
	t.Helper()
	number, table, attempt := s.number(), state.TableID(s.number()), uint32(s.number())
	sum := binary.BigEndian.Uint64(s.b)
	s.b = s.b[8:]
	revision, reply := s.number(), s.bytes()
	if number != wantNumber || attempt != want.answer.attempt || revision != uint64(want.answer.revision) {
		t.Errorf("record %d is of attempt %d and revision %d, want %d, %d, %d", number, attempt, revision, wantNumber, want.answer.attempt, want.answer.revision)
	}
	if old, known := sums[want.content]; known && old != sum {
		t.Errorf("two checksums, %x and %x, of %s", old, sum, want.content)
	}
	sums[want.content] = sum
	if got, want := decodedReply(table, reply, tables), want.stored(); got != want {
		t.Errorf("record %d has the reply %q, want %q", number, got, want)
	}
}

// stored is what a record stores of its reply. What it stores of a lease is not looked
// into: it is seen when it is repeated.
func (rec modelRecord) stored() string {
	var parts []string
	for _, p := range rec.parts {
		text := p.reply
		if p.act.table == machine.LeaseTable {
			text = "of a lease"
		}
		parts = append(parts, p.text(text, rec.group))
	}
	return strings.Join(parts, "; ")
}

// decodedReply reads a recorded reply by the tables' codec.
func decodedReply(table state.TableID, b []byte, tables []state.Table) string {
	if table == machine.SystemTable {
		s := &section{b}
		var parts []string
		for range s.number() {
			id, revision := state.TableID(s.number()), s.number()
			parts = append(parts, fmt.Sprintf("%s in table %d at %d", decodedReply(id, s.bytes(), tables), id, revision))
		}
		return strings.Join(parts, "; ")
	}
	i := slices.IndexFunc(tables, func(t state.Table) bool { return t.ID() == table })
	reply, err := tables[i].DecodeReply(b)
	switch k, keeps := tables[i].(machine.Keeper); {
	case err != nil:
		return err.Error()
	case table == machine.LeaseTable:
		return "of a lease"
	case keeps:
		if reply, err = k.Kept(nil, reply); err != nil {
			return err.Error()
		}
	}
	return replied(reply)
}
