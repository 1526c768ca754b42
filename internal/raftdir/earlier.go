package raftdir

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/interrex/interrex/internal/disk"
)

// Earlier is what successive calls of Open know of each other. The zero value is
// that of the first call.
type Earlier struct {
	opening sync.Mutex // held during a call, also a late one
	path    string     // last opened
}

// mayOpen refuses to create a directory that this process has had open before: its
// content is lost. Nothing is created, so that the directory can be put back.
func (e *Earlier) mayOpen(path string) error {
	if e.path != path {
		return nil
	}
	fresh, err := IsFresh(path)
	if err == nil && fresh {
		err = lostDirectory(path)
	}
	return err
}

// open opens a directory within its deadline. One that is opened later is closed
// again, and until then there is no further attempt.
func (e *Earlier) open(d *Directory, cfg Config) error {
	if !e.opening.TryLock() {
		return fmt.Errorf("cannot open raft directory %s: %w: an earlier attempt has not returned yet", d.path, disk.ErrHung)
	}
	sized, taken, late := make(chan int64, 1), make(chan error), make(chan struct{})
	go func() {
		sized <- sizeOf(d.path)
		err := d.take(cfg)
		select {
		case taken <- err:
		case <-late:
			if err == nil {
				_ = d.Close()
			}
			e.opening.Unlock()
		}
	}()
	allowed := d.disk.Timeout
	deadline := cfg.Clock.NewTimer(allowed)
	defer deadline.Stop()
	for {
		select {
		case size := <-sized:
			allowed += time.Duration(2*size/slowDisk) * time.Second // it is read at most twice
			deadline.Reset(allowed)
		case err := <-taken:
			if err == nil {
				e.path = d.path
			}
			e.opening.Unlock()
			return err
		case <-deadline.Chan():
			close(late)
			return fmt.Errorf("cannot open raft directory %s: %w: no response for %s; a retry follows once that call has returned", d.path, disk.ErrHung, allowed)
		}
	}
}

// sizeOf returns the size of the files in a directory, without those that cannot be
// examined.
func sizeOf(path string) (size int64) {
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	return size
}
