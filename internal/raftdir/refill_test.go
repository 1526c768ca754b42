package raftdir

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// condemned makes a directory that has a log and two snapshots, and is condemned.
func condemned(t *testing.T) string {
	t.Helper()
	dir := filled(t, snapshotAt)
	d := openFilled(t, dir)
	to, err := d.Condemn("it is wrong")
	must(t, err)
	if why := d.Condemned(); why == nil || !strings.HasPrefix(why.Error(), "it is wrong; its log and snapshots are kept in "+to) || filepath.Dir(to) != filepath.Join(dir, condemnedName) {
		t.Errorf("it is condemned: %v", why)
	}
	must(t, d.StoreLogs(original(lastEntry+1, lastEntry+1)))
	if d.Condemned() == nil {
		t.Error("an entry ends the refill before it has begun")
	}
	must(t, d.Close())
	return dir
}

func openFilled(t *testing.T, dir string) *Directory {
	t.Helper()
	d, err := Open(dir, Config{SegmentSize: smallSegment, NoSync: true})
	must(t, err)
	return d
}

// kept returns the names of what was set aside.
func kept(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, pattern := range []string{"*/*.wal", "*/segments", "*/snapshots/*"} {
		found, err := filepath.Glob(filepath.Join(dir, condemnedName, pattern))
		must(t, err)
		names = append(names, found...)
	}
	return names
}

func TestACondemnedDirectoryIsEmptiedAndKeepsItsFiles(t *testing.T) {
	dir := condemned(t)
	wals, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	must(t, err)
	for range 2 { // also when it is opened again
		d := openFilled(t, dir)
		last, err := d.LastIndex()
		must(t, err)
		if list, _ := d.Snapshots().List(); last != 0 || len(list) != 0 {
			t.Errorf("it has entries up to %d and %d snapshots", last, len(list))
		}
		if !d.Quarantined() || d.Condemned() == nil || d.Term() != 2 || d.Floor().Index != lastEntry+1 {
			t.Errorf("quarantine: %t, condemned: %v, term %d, floor %s", d.Quarantined(), d.Condemned(), d.Term(), d.Floor().Position)
		}
		if notes := strings.Join(d.Report().Notes, "\n"); !strings.Contains(notes, "it is wrong") {
			t.Errorf("it reports %s", notes)
		}
		must(t, d.Close())
	}
	if names := kept(t, dir); len(names) != len(wals)+1+2 {
		t.Errorf("of %d files of the log are kept: %v", len(wals), names)
	}
}

// What docs/operations.md says for when the members that would fill it are lost.
func TestWhatWasSetAsideCanBePutBackByHand(t *testing.T) {
	dir := condemned(t)
	must(t, openFilled(t, dir).Close())
	for _, pattern := range []string{"*.wal", raftlog.SegmentsName, snapshotsName, refillName} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		must(t, err)
		for _, path := range found {
			must(t, os.RemoveAll(path))
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, condemnedName, "*", "*"))
	must(t, err)
	for _, path := range kept {
		must(t, os.Rename(path, filepath.Join(dir, filepath.Base(path))))
	}
	d := openFilled(t, dir)
	last, err := d.LastIndex()
	must(t, err)
	if list, _ := d.Snapshots().List(); last != lastEntry+1 || len(list) != 1 || d.Condemned() != nil || d.Quarantined() {
		t.Errorf("it has entries up to %d and %d snapshots, condemned: %v, quarantined: %t", last, len(list), d.Condemned(), d.Quarantined())
	}
	must(t, d.Close())
}

func TestARefillEndsWhenAllIsThereAgain(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, d *Directory){
		"entries": func(t *testing.T, d *Directory) {
			must(t, d.StoreLogs(original(1, lastEntry)))
			if d.Condemned() == nil {
				t.Error("it ends too early")
			}
			must(t, d.StoreLogs(original(lastEntry+1, lastEntry+1)))
		},
		"a snapshot": func(t *testing.T, d *Directory) { takeSnapshot(t, d, lastEntry+1) },
	} {
		dir := condemned(t)
		d := openFilled(t, dir)
		fill(t, d)
		if d.Condemned() != nil || d.Quarantined() {
			t.Errorf("%s: %v, quarantine: %t", name, d.Condemned(), d.Quarantined())
		}
		must(t, d.Close())
		d = openFilled(t, dir)
		if exists(filepath.Join(dir, refillName)) {
			t.Errorf("%s: the directory still says that it is condemned", name)
		}
		if d.Condemned() != nil || d.Quarantined() || d.End().Index != lastEntry+1 {
			t.Errorf("%s, after a restart: %v, quarantine: %t, its end is %s", name, d.Condemned(), d.Quarantined(), d.End())
		}
		must(t, d.Close())
	}
}

// What has come before a restart is not set aside as well.
func TestARefillGoesOnAfterARestart(t *testing.T) {
	dir := condemned(t)
	d := openFilled(t, dir)
	must(t, d.StoreLogs(original(1, 100)))
	must(t, d.Close())
	before := kept(t, dir)
	d = openFilled(t, dir)
	if last, err := d.LastIndex(); err != nil || last != 100 || d.Condemned() == nil || !d.Quarantined() {
		t.Errorf("it has entries up to %d, %v, condemned: %v, quarantined: %t", last, err, d.Condemned(), d.Quarantined())
	}
	must(t, d.Close())
	if after := kept(t, dir); !slices.Equal(after, before) {
		t.Errorf("kept are %v, not %v", after, before)
	}
}

// Otherwise the agent would start again with what it must not use.
func TestACondemnationThatIsNotOnDiskIsAnError(t *testing.T) {
	dir := filled(t, snapshotAt)
	d := openFilled(t, dir)
	must(t, os.Mkdir(filepath.Join(dir, refillName), 0o700))
	if to, err := d.Condemn("it is wrong"); err == nil || to != "" || !strings.Contains(err.Error(), "cannot condemn the raft directory") {
		t.Errorf("it is condemned to %q, %v", to, err)
	}
	if d.Condemned() == nil {
		t.Error("until it ends, this agent uses it")
	}
	must(t, d.Close())
}

// cut is files that fail after some steps.
type cut struct {
	disk.OS
	left int
	once bool // only the next one fails
	done []string
}

var errCut = errors.New("the process has ended")

func (c *cut) step(what, path string) error {
	c.done = append(c.done, what+" "+filepath.Base(path))
	if c.left--; c.left == -1 || c.left < 0 && !c.once {
		return errCut
	}
	return nil
}

func (c *cut) WriteSync(path string, data []byte) error {
	return errors.Join(c.step("write", path), c.OS.WriteSync(path, data))
}

func (c *cut) Rename(from, to string) error {
	if err := c.step("rename", from); err != nil {
		return err
	}
	return c.OS.Rename(from, to)
}

func (c *cut) Sync(dir string) error { return errors.Join(c.step("sync", dir), c.OS.Sync(dir)) }

func TestEmptyingThatWasCutIsCompleted(t *testing.T) {
	whole := condemned(t)
	for left, ended := 0, true; ended; left++ {
		for _, once := range []bool{false, true} {
			files := &cut{OS: disk.OS{NoSync: true}, left: left, once: once}
			emptiedWith(t, whole, files)
			ended = files.left < 0
		}
	}
}

// emptiedWith empties a copy of a condemned directory with files that fail, and opens it.
func emptiedWith(t *testing.T, whole string, files *cut) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "raft")
	must(t, os.CopyFS(dir, os.DirFS(whole)))
	err := (&Directory{path: dir}).empty(files)
	if errors.Is(err, errCut) != (files.left < 0) {
		t.Errorf("%+v: %v", files, err)
	}
	if r, bad := readRefill(dir); bad != nil || r.Emptied != (err == nil) {
		t.Errorf("%+v: it says %+v, %v", files, r, bad)
	}
	d := openFilled(t, dir)
	if last, err := d.LastIndex(); err != nil || last != 0 || !d.Quarantined() || d.Condemned() == nil {
		t.Errorf("%+v: entries up to %d, %v, condemned: %v", files, last, err, d.Condemned())
	}
	must(t, d.Close())
	wals, bad := filepath.Glob(filepath.Join(whole, "*.wal"))
	must(t, bad)
	list, bad := os.ReadFile(filepath.Join(whole, raftlog.SegmentsName))
	must(t, bad)
	names := kept(t, dir)
	if len(names) != len(wals)+1+2 {
		t.Errorf("%+v: kept are %v", files, names)
	}
	for _, name := range names {
		if b, err := os.ReadFile(name); filepath.Base(name) == raftlog.SegmentsName && (err != nil || !bytes.Equal(b, list)) {
			t.Errorf("%+v: another list is kept: %v", files, err)
		}
	}
}

// A crash of the machine may take back what was not synced.
func TestWhatIsSetAsideIsOnDiskBeforeTheListIsEmpty(t *testing.T) {
	dir := condemned(t)
	files := &cut{OS: disk.OS{NoSync: true}, left: 1000}
	d := &Directory{path: dir}
	must(t, d.empty(files))
	list := slices.Index(files.done, "rename "+raftlog.SegmentsName+disk.Staged)
	for _, name := range []string{filepath.Base(d.refill.Kept), snapshotsName, condemnedName} {
		if at := slices.Index(files.done, "sync "+name); at < 0 || at > list {
			t.Errorf("%s is not synced before the list is replaced: %q", name, files.done)
		}
	}
	before := strings.Join(files.done[:list], "\n")
	if n := strings.Count(before, "sync "+snapshotsName); n != 2 {
		t.Errorf("the folder of snapshots, before and after, is synced %d times: %q", n, files.done)
	}
	if last := files.done[len(files.done)-1]; last != "sync "+filepath.Base(dir) {
		t.Errorf("the last step is %q", last)
	}
}

func TestOnlyTheNewestCondemnedFilesAreKept(t *testing.T) {
	dir := condemned(t)
	for range 2 {
		d := openFilled(t, dir)
		takeSnapshot(t, d, lastEntry+1)
		_, err := d.Condemn("again")
		must(t, errors.Join(err, d.Close()))
	}
	must(t, openFilled(t, dir).Close())
	times, err := filepath.Glob(filepath.Join(dir, condemnedName, "*"))
	must(t, err)
	if len(times) != 1 || len(kept(t, dir)) < 2 {
		t.Errorf("%v with %v", times, kept(t, dir))
	}
}

func TestADamagedRefillIsAnError(t *testing.T) {
	dir := condemned(t)
	must(t, os.WriteFile(filepath.Join(dir, refillName), []byte("x"), 0o600))
	_, opened := Open(dir, Config{})
	_, examined := Examine(dir)
	for _, err := range []error{opened, examined} {
		if !errors.Is(err, disk.ErrDamaged) || !strings.Contains(err.Error(), refillName) || !strings.Contains(err.Error(), "join it anew") {
			t.Error(err)
		}
	}
}
