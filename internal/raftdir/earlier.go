package raftdir

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/interrex/interrex/internal/disk"
)

// Earlier is what calls of Open, one after the other, know of each other. The zero
// value knows of none.
type Earlier struct {
	opening sync.Mutex // held while a call is under way, also one that is late
	path    string     // that was opened last
}

// mayOpen refuses to begin anew where this process has had a directory open: what
// it held is lost. Nothing is made there, so that it can be put back.
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

// open takes a directory within its deadline. One that is taken later is closed
// again, and until then no other is tried.
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
			allowed += time.Duration(2*size/slowDisk) * time.Second // it is read twice at most
			deadline.Reset(allowed)
		case err := <-taken:
			if err == nil {
				e.path = d.path
			}
			e.opening.Unlock()
			return err
		case <-deadline.Chan():
			close(late)
			return fmt.Errorf("cannot open raft directory %s: %w: no answer for %s; it is tried again once that call has returned", d.path, disk.ErrHung, allowed)
		}
	}
}

// sizeOf is how many bytes the files of a directory have, as far as they can be
// looked at.
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
