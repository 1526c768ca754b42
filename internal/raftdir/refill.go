package raftdir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

const (
	// refillName is the file that a directory has while it is to be filled anew.
	refillName = "refill"
	// condemnedName is the directory for what a condemned directory had.
	condemnedName = "condemned"
)

// refill says that a directory's log and snapshots must not be used: they are set aside
// when it is opened next, and the leader sends them again. Term, vote and floor stay, so
// the directory is in quarantine until it has what it had.
type refill struct {
	Why     string `json:"why"`
	Kept    string `json:"kept"` // where they are, from the directory
	Emptied bool   `json:"emptied"`
}

func refillFile(dir string) disk.CheckedFile {
	return disk.CheckedFile{Path: filepath.Join(dir, refillName), About: "what condemns the raft directory"}
}

// readRefill returns nil where the directory is not condemned.
func readRefill(dir string) (*refill, error) {
	b, err := refillFile(dir).Load()
	if err == nil && b == nil {
		return nil, nil
	}
	r := new(refill)
	if err == nil {
		err = json.Unmarshal(b, r)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read why %s is condemned: %w: no more of it can be used: remove this agent from the cluster, and join it anew", dir, err)
	}
	return r, nil
}

func (r refill) save(dir string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return refillFile(dir).Save(b)
}

// Condemn records that log and snapshots belong to a state that must not be used. From
// now on this agent does only what one in quarantine does, and does not vote; the next
// Open sets the files aside, in kept.
func (d *Directory) Condemn(why string) (kept string, err error) {
	r := refill{Why: why, Kept: filepath.Join(condemnedName, time.Now().UTC().Format("20060102T150405.000000000"))}
	d.mu.Lock()
	d.refill = &r
	d.mu.Unlock()
	if err := d.disk.Bounded("condemn the raft directory", func() error { return r.save(d.path) }); err != nil {
		return "", fmt.Errorf("cannot condemn the raft directory: %w", err)
	}
	return filepath.Join(d.path, r.Kept), nil
}

// Condemned returns why this directory is being filled anew, and where its files from
// before are or will be; nil: it is not.
func (d *Directory) Condemned() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refill == nil {
		return nil
	}
	return fmt.Errorf("%s; its log and snapshots are kept in %s", d.refill.Why, filepath.Join(d.path, d.refill.Kept))
}

// empty sets the files of a condemned directory aside. Cut short, it is completed by the
// next Open.
func (d *Directory) empty(f disk.Files) error {
	r, err := readRefill(d.path)
	if err != nil || r == nil {
		return err
	}
	d.refill = r
	if r.Emptied {
		return nil
	}
	if err := r.setAside(d.path, f); err != nil {
		return disk.Classify("set aside what a condemned directory has", err)
	}
	r.Emptied = true
	return r.save(d.path)
}

// setAside moves log and snapshots of a directory, in place of those that were moved
// before.
func (r refill) setAside(dir string, f disk.Files) error {
	to := filepath.Join(dir, r.Kept)
	earlier, err := disk.Named(filepath.Join(dir, condemnedName), "")
	for _, path := range earlier {
		if path != to {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	err = errors.Join(err, disk.MakePrivate(filepath.Join(to, snapshotsName)))
	for _, of := range []struct{ folder, suffix string }{{"", raftlog.SegmentSuffix}, {snapshotsName, ""}} {
		found, bad := disk.Named(filepath.Join(dir, of.folder), of.suffix)
		err = errors.Join(err, bad)
		for _, path := range found {
			err = errors.Join(err, f.Rename(path, filepath.Join(to, of.folder, filepath.Base(path))))
		}
		if len(found) > 0 { // else the folder may be missing
			err = errors.Join(err, f.Sync(filepath.Join(dir, of.folder)))
		}
	}
	if err != nil {
		return err
	}
	list := filepath.Join(dir, raftlog.SegmentsName)
	had, err := disk.ReadFile(list)
	if kept := filepath.Join(to, raftlog.SegmentsName); err == nil && !exists(kept) {
		err = f.WriteSync(kept, had)
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(to), f.Sync(filepath.Join(to, snapshotsName)), f.Sync(filepath.Dir(to)),
		disk.Replace(f, list, raftlog.EncodeSegments(types.PersistentState{})))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// refilled ends the refill of a directory that was emptied and has all that it had again.
func (d *Directory) refilled() error {
	d.mu.Lock()
	done := d.refill != nil && d.refill.Emptied && !d.short
	if done {
		d.refill = nil
	}
	d.mu.Unlock()
	if !done {
		return nil
	}
	return disk.Classify("end the refill of the raft directory", errors.Join(os.Remove(filepath.Join(d.path, refillName)), disk.OS{}.Sync(d.path)))
}
