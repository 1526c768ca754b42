package raftdir

import (
	"errors"
	"os"
	"path/filepath"
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
		if d.Condemned() != nil || d.Quarantined() || d.End().Index != lastEntry+1 {
			t.Errorf("%s, after a restart: %v, quarantine: %t, its end is %s", name, d.Condemned(), d.Quarantined(), d.End())
		}
		must(t, d.Close())
	}
}

// cut is files that fail after some steps.
type cut struct {
	disk.OS
	left int
}

var errCut = errors.New("the process has ended")

func (c *cut) step() error {
	if c.left--; c.left < 0 {
		return errCut
	}
	return nil
}

func (c *cut) WriteSync(path string, data []byte) error {
	return errors.Join(c.step(), c.OS.WriteSync(path, data))
}

func (c *cut) Rename(from, to string) error {
	if err := c.step(); err != nil {
		return err
	}
	return c.OS.Rename(from, to)
}

func (c *cut) Sync(dir string) error { return errors.Join(c.step(), c.OS.Sync(dir)) }

func TestEmptyingThatWasCutIsCompleted(t *testing.T) {
	whole := condemned(t)
	wals, err := filepath.Glob(filepath.Join(whole, "*.wal"))
	must(t, err)
	for left := 0; ; left++ {
		dir := filepath.Join(t.TempDir(), "raft")
		must(t, os.CopyFS(dir, os.DirFS(whole)))
		r, err := readRefill(dir)
		must(t, err)
		err = r.setAside(dir, &cut{OS: disk.OS{NoSync: true}, left: left})
		if err != nil && !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		d := openFilled(t, dir)
		if last, err := d.LastIndex(); err != nil || last != 0 || !d.Quarantined() || d.Condemned() == nil {
			t.Errorf("cut after %d steps: entries up to %d, %v, condemned: %v", left, last, err, d.Condemned())
		}
		must(t, d.Close())
		if names := kept(t, dir); len(names) != len(wals)+1+2 {
			t.Errorf("cut after %d steps: kept are %v", left, names)
		}
		if err == nil {
			return
		}
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
