package raftlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
)

func floorAt(index uint64) raftlog.Floor {
	return raftlog.Floor{Position: raftlog.Position{Term: 1, Index: index}}
}

// files lists the segments' files of a directory.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

// What cannot be read is perhaps intact: it is not taken for missing.
func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	for _, what := range []string{"the list of log segments", "log segment"} {
		dir, _, file := short(t)
		if what != "log segment" {
			file = filepath.Join(dir, raftlog.SegmentsName)
		}
		must(t, errors.Join(os.Remove(file), os.Mkdir(file, 0o700)))
		if c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(9)); err == nil || !strings.Contains(err.Error(), "cannot read "+what) {
			t.Errorf("%s: %+v, %v", what, c, err)
		}
	}
}

func TestAListIsNotRebuiltFromWhatIsNoSegment(t *testing.T) {
	dir, _, _ := short(t)
	must(t, os.Remove(filepath.Join(dir, raftlog.SegmentsName)))
	must(t, os.WriteFile(filepath.Join(dir, "other.wal"), nil, 0o600))
	if c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(9)); err == nil || !strings.Contains(err.Error(), "other.wal is not the name of a segment: move it away") {
		t.Errorf("%+v, %v", c, err)
	}
}

// The entries before a snapshot are what the leader sends to agents that are behind.
func TestALostListIsRebuiltAlsoWhereTheSnapshotHasAll(t *testing.T) {
	dir, _, _ := short(t)
	must(t, os.Remove(filepath.Join(dir, raftlog.SegmentsName)))
	floor := floorAt(9)
	c, err := raftlog.Inspect(dir, floor.Position, floor)
	must(t, err)
	if c.First != 1 || c.Last != 9 || c.Snapshot != floor.Position || c.Floor != floor || c.Short() {
		t.Errorf("%+v", c.Report)
	}
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "is missing") || !strings.Contains(c.Notes[0], "it is rebuilt") {
		t.Errorf("it says %q", c.Notes)
	}
}

func TestARebuiltListIsJudgedToo(t *testing.T) {
	dir, _, path := short(t)
	must(t, os.Remove(filepath.Join(dir, raftlog.SegmentsName)))
	change(t, path, func(b []byte) { b[bytes.Index(b, []byte("entry 5."))] ^= 1 })
	c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(9))
	must(t, err)
	notes := strings.Join(c.Notes, "\n")
	if !c.Short() || c.End.Index != 4 || !strings.Contains(notes, "its entries 1 to 4 are kept") || !strings.Contains(notes, "intact up to index 4 of term 1, and this agent has stored more") {
		t.Errorf("%+v: %s", c.Report, notes)
	}
}

// A segment that the list does not name, and that leads no further, does not change it.
func TestAListIsKeptWhereAnotherOneLeadsNoFurther(t *testing.T) {
	dir, list, _ := short(t)
	must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d-%016x.wal", 1000, 200)), nil, 0o600))
	c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(20))
	must(t, err)
	if got := c.List().Segments; len(got) != 1 || !got[0].CreateTime.Equal(list.Segments[0].CreateTime) {
		t.Errorf("the list is %+v, not %+v", got, list.Segments)
	}
	if notes := strings.Join(c.Notes, "\n"); strings.Contains(notes, "rebuilt") {
		t.Errorf("it says %s", notes)
	}
}

func TestASoundLogIsLeftAsItIs(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, 1, raftdir.Config{SegmentSize: 4096})
	for i := uint64(1); i < 200; i++ {
		must(t, d.StoreLogs(entries(i, i)))
	}
	must(t, d.Close())
	names, list := files(t, dir), raftlog.EncodeSegments(segmentsOf(t, dir))
	d = open(t, dir, 1, raftdir.Config{SegmentSize: 4096})
	must(t, d.Close())
	if got := files(t, dir); !slices.Equal(got, names) || !bytes.Equal(raftlog.EncodeSegments(segmentsOf(t, dir)), list) {
		t.Errorf("the segments are %v, not %v", got, names)
	}
}

// A segment is rewritten entry by entry, however many it has.
func TestASegmentOfManyEntriesIsRewritten(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, 1, raftdir.Config{})
	const many = 2500
	must(t, d.StoreLogs(entries(1, many)))
	must(t, d.Close())
	change(t, filepath.Join(dir, files(t, dir)[0]), func(b []byte) { b[8] ^= 1 })
	for range 2 {
		d = open(t, dir, 1, raftdir.Config{})
		if d.End().Index != many || d.Quarantined() {
			t.Errorf("it ends at %s: %q", d.End(), d.Report().Notes)
		}
		mustHold(t, d)
		must(t, d.Close())
	}
}

// The segment behind the last sealed one begins where the log goes on, under an ID of
// its own.
func TestTheNewestSegmentFollowsTheSealedOnes(t *testing.T) {
	dir, _, path := short(t)
	change(t, path, func(b []byte) { b[8] ^= 1 })
	c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(9))
	must(t, errors.Join(err, c.Mend(disk.OS{NoSync: true}, fs.New())))
	list := c.List()
	if len(list.Segments) != 2 {
		t.Fatalf("%+v", list)
	}
	sealed, newest := list.Segments[0], list.Segments[1]
	want := types.SegmentInfo{
		ID: sealed.ID + 1, BaseIndex: 10, MinIndex: 10,
		SizeLimit: sealed.SizeLimit, Codec: sealed.Codec, CreateTime: sealed.SealTime,
	}
	if newest != want || list.NextSegmentID != newest.ID+1 || sealed.SealTime.IsZero() || sealed.MaxIndex != 9 {
		t.Errorf("%+v, want %+v", list, want)
	}
	if !bytes.Equal(raftlog.EncodeSegments(list), raftlog.EncodeSegments(segmentsOf(t, dir))) {
		t.Error("the list on disk is another one")
	}
}

// faulty is files of which one step fails.
type faulty struct {
	disk.OS
	write, rename, sync string // in the paths at which it fails
}

var errFaulty = errors.New("the disk is full")

func fails(path, at string) error {
	if at != "" && strings.Contains(path, at) {
		return errFaulty
	}
	return nil
}

func (f faulty) WriteSync(path string, data []byte) error {
	return errors.Join(fails(path, f.write), f.OS.WriteSync(path, data))
}

func (f faulty) Rename(from, to string) error {
	if err := fails(from, f.rename); err != nil {
		return err
	}
	return f.OS.Rename(from, to)
}

func (f faulty) Sync(dir string) error { return errors.Join(fails(dir, f.sync), f.OS.Sync(dir)) }

// Until the new list is on disk, the segments of the old one stay.
func TestAMendThatFailsSaysSoAndLosesNothing(t *testing.T) {
	for what, c := range map[string]struct {
		files  faulty
		listed bool // the new list is on disk
	}{
		"the list is not written":      {faulty{write: raftlog.SegmentsName + disk.Staged}, false},
		"the list is not replaced":     {faulty{rename: raftlog.SegmentsName + disk.Staged}, false},
		"the segment is not set aside": {faulty{rename: ".wal"}, true},
		"its new place is not synced":  {faulty{sync: "damaged"}, true},
	} {
		dir, _, path := short(t)
		change(t, path, func(b []byte) { b[8] ^= 1 })
		check, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(9))
		must(t, err)
		c.files.NoSync = true
		if err := check.Mend(c.files, fs.New()); !errors.Is(err, errFaulty) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(path); err != nil && !c.listed {
			t.Errorf("%s, and the segment is gone: %v", what, err)
		}
		mended(t, dir, !c.listed)
	}
}

func TestWithoutAPlaceAsideAMendIsAnError(t *testing.T) {
	dir, _, path := short(t)
	change(t, path, func(b []byte) { b[8] ^= 1 })
	must(t, os.WriteFile(filepath.Join(dir, "damaged"), nil, 0o600))
	c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(9))
	must(t, err)
	if err := c.Mend(disk.OS{NoSync: true}, fs.New()); err == nil || !strings.Contains(err.Error(), "set aside what is damaged") {
		t.Error(err)
	}
}

// full is a disk on which no segment can be made.
type full struct{ types.VFS }

func (f full) Create(dir, name string, size uint64) (types.WritableFile, error) {
	w, err := f.VFS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	return fullFile{w}, nil
}

type fullFile struct{ types.WritableFile }

func (fullFile) WriteAt([]byte, int64) (int, error) { return 0, errFaulty }

func TestASegmentThatCannotBeRewrittenLeavesTheOldOne(t *testing.T) {
	dir, _, path := short(t)
	change(t, path, func(b []byte) { b[8] ^= 1 })
	c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(9))
	must(t, err)
	if err := c.Mend(disk.OS{NoSync: true}, full{fs.New()}); !errors.Is(err, errFaulty) || !strings.Contains(err.Error(), "write log segment "+filepath.Base(path)+" anew") {
		t.Error(err)
	}
	if names := files(t, dir); len(names) != 1 || names[0] != filepath.Base(path) {
		t.Errorf("the segments are %v", names)
	}
	mended(t, dir, true)
}

// An agent that could not read one of the entries would start with another history.
func TestAVisitThatFailsEndsWithItsError(t *testing.T) {
	dir, _, path := short(t)
	inspect := func() *raftlog.Check {
		c, err := raftlog.Inspect(dir, raftlog.Position{Term: 1, Index: 3}, floorAt(9))
		must(t, err)
		return c
	}
	var got []uint64
	enough := errors.New("enough")
	visit := func(l *raft.Log) error {
		if got = append(got, l.Index); l.Index == 6 {
			return enough
		}
		return nil
	}
	if err := inspect().Each(visit); err != enough || !slices.Equal(got, []uint64{4, 5, 6}) {
		t.Errorf("%v were visited: %v", got, err)
	}
	c := inspect()
	change(t, path, func(b []byte) { b[bytes.Index(b, []byte("entry 5."))] ^= 1 })
	if err := c.Each(visit); !errors.Is(err, disk.ErrDamaged) || !strings.Contains(err.Error(), "log entry 5") {
		t.Errorf("of one that is damaged meanwhile: %v", err)
	}
	must(t, os.Remove(path))
	if err := c.Members(new(raft.Configuration)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of one that is gone meanwhile: %v", err)
	}
}

// A damaged snapshot is set aside, or each start would report it.
func TestADamagedSnapshotIsSetAside(t *testing.T) {
	dir, _, _ := short(t)
	name := filepath.Join("snapshots", "1-5-1")
	must(t, os.MkdirAll(filepath.Join(dir, name), 0o700))
	mended(t, dir, true)
	if aside, err := filepath.Glob(filepath.Join(dir, "damaged", "*", "1-5-1")); err != nil || len(aside) != 1 {
		t.Errorf("set aside are %v, %v", aside, err)
	}
}

// Of the segments that are rewritten only the damaged one is set aside.
func TestSoundSegmentsThatAreRewrittenLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, 1, raftdir.Config{SegmentSize: 4096})
	for i := uint64(1); i < 200; i++ {
		must(t, d.StoreLogs(entries(i, i)))
	}
	must(t, d.Close())
	first := files(t, dir)[0]
	change(t, filepath.Join(dir, first), func(b []byte) { b[8] ^= 1 })
	c, err := raftlog.Inspect(dir, raftlog.Position{}, floorAt(199))
	must(t, errors.Join(err, c.Mend(disk.OS{NoSync: true}, fs.New())))
	var want []string
	var id uint64
	for _, info := range c.List().Segments {
		if info.ID <= id {
			t.Errorf("segment %s is not behind %d", segment.FileName(info), id)
		}
		id = info.ID
		want = append(want, segment.FileName(info))
	}
	want = want[:len(want)-1] // the newest is not made yet
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("the segments are %v, want %v", got, want)
	}
	aside, err := filepath.Glob(filepath.Join(dir, "damaged", "*", "*"))
	must(t, err)
	if len(aside) != 1 || filepath.Base(aside[0]) != first || !slices.Contains(c.Notes, "the damaged files are now in "+filepath.Dir(aside[0])) {
		t.Errorf("set aside are %v: %q", aside, c.Notes)
	}
}
