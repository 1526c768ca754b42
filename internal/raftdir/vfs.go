package raftdir

import (
	"time"

	"github.com/hashicorp/raft-wal/types"
)

// vfs is between the log and its files: it times each fsync, omits it in a
// directory with NoSync, and reports failures that the log only logs.
type vfs struct {
	types.VFS
	noSync  bool
	synced  func(took time.Duration) // after each fsync; may be nil
	failed  func(what string, err error)
	present *present
}

// Create creates a segment. The log creates the next one in the background; if that
// fails, its next append only reports that the segment before is sealed.
func (v vfs) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := v.VFS.Create(dir, name, size)
	if err != nil {
		v.failed("make log segment "+name, err)
		return nil, err
	}
	v.present.add(name)
	return vfsFile{WritableFile: f, vfs: v}, nil
}

// Delete removes a segment.
func (v vfs) Delete(dir, name string) error {
	v.present.remove(name)
	return v.VFS.Delete(dir, name)
}

func (v vfs) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := v.VFS.OpenWriter(dir, name)
	if err != nil {
		return nil, err
	}
	v.present.add(name)
	return vfsFile{WritableFile: f, vfs: v}, nil
}

type vfsFile struct {
	types.WritableFile
	vfs vfs
}

func (f vfsFile) Sync() error {
	if f.vfs.noSync {
		return nil
	}
	// A measurement is by the real clock, not by one that a test may stop.
	start := time.Now()
	err := f.WritableFile.Sync()
	if f.vfs.synced != nil {
		f.vfs.synced(time.Since(start))
	}
	return err
}
