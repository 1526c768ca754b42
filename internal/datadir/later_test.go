package datadir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
)

// laterTable is a register of another version, which has the commands 1 and 2.
type laterTable struct {
	*testtable.Register
	version uint16
}

func (t laterTable) Version() uint16      { return t.version }
func (laterTable) Knows(data []byte) bool { return len(data) > 0 && data[0] <= 2 }

func registers(version uint16) func() []state.Table {
	return func() []state.Table { return []state.Table{laterTable{testtable.NewRegister(), version}} }
}

// What a later build has written is found out before an agent of this one starts with it.
func TestADirectoryOfALaterBuildIsNoticed(t *testing.T) {
	for _, c := range []struct {
		snapshot int // behind that many writes; 0: none
		version  uint16
		entry    []byte // the last one
		want     string
	}{
		{20, 1, nil, ""},
		{20, 2, nil, ""}, // a later build reads what an earlier one wrote
		{20, 0, nil, "the newest snapshot: section"},
		{20, 0, []byte{9}, "the newest snapshot: section"}, // the first of both
		{0, 0, nil, ""}, // entries have no versions of tables
		{20, 1, []byte{9}, "log entry 64: cannot decode entry: unknown version 9"},
		{20, 1, (&machine.Entry{Operations: []state.Operation{{Table: testtable.RegisterTable, Data: []byte{3}}}}).Append(nil), "log entry 64: operation 0: unknown command"},
		{20, 1, (&machine.Entry{Operations: []state.Operation{{Table: 999, Data: []byte{3}}}}).Append(nil), ""}, // of an embedder
	} {
		s := newSurvivor(t, 60, c.snapshot, "a")
		if c.entry != nil {
			s.store(c.entry)
		}
		before := s.files()
		e := s.examine(Sound)
		s.must(e.Read(s.dir, registers(c.version)))
		verdict := Sound
		if c.want != "" {
			verdict = Later
		}
		if e.Verdict != verdict || (e.Later != nil) != (c.want != "") || e.Later != nil && !strings.Contains(e.Later.Error(), c.want) {
			t.Errorf("%+v: it %s: %v", c, e.Verdict, e.Later)
		}
		if after := s.files(); after != before {
			t.Errorf("%+v: the directory has changed from\n%s\nto\n%s", c, before, after)
		}
	}
}

// An empty directory has nothing that a build could not read; of one that cannot be
// read it is not known.
func TestADirectoryThatCannotBeReadIsAnError(t *testing.T) {
	empty := &Examination{Verdict: Wiped}
	if err := empty.Read(t.TempDir(), registers(1)); err != nil || empty.Verdict != Wiped || empty.Later != nil {
		t.Errorf("without a log it %s: %v, %v", empty.Verdict, empty.Later, err)
	}
	s := newSurvivor(t, 60, 20, "a")
	e := s.examine(Sound)
	segments, err := filepath.Glob(filepath.Join(s.raft(), "*.wal"))
	s.must(err)
	s.must(os.Remove(segments[0]))
	s.must(os.Mkdir(segments[0], 0o700))
	if err := e.Read(s.dir, registers(1)); err == nil || !strings.Contains(err.Error(), "cannot read log segment") {
		t.Errorf("with a segment that cannot be read it %s: %v", e.Verdict, err)
	}
}

// store appends an entry.
func (s *survivor) store(data []byte) {
	s.t.Helper()
	dir, err := raftdir.Open(s.raft(), raftdir.Config{})
	s.must(err)
	end := dir.End()
	s.must(dir.StoreLog(&raft.Log{Index: end.Index + 1, Term: end.Term, Type: raft.LogCommand, Data: data}))
	s.must(dir.Close())
}

// files lists what is in the directory.
func (s *survivor) files() (list string) {
	s.t.Helper()
	s.must(filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		list += fmt.Sprintln(path, info.Size(), info.ModTime())
		return err
	}))
	return list
}
