package raftdir

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// present are the names of the files that are in the directory, as far as this
// agent has made or opened them and not removed them.
type present struct {
	mu    sync.Mutex
	names map[string]bool
}

// begin notes the files of a log that is opened, but for its tail: that is opened
// next, or made.
func (p *present) begin(list types.PersistentState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = map[string]bool{stampName: true, voteName: true, floorName: true, raftlog.SegmentsName: true}
	for _, info := range list.Segments {
		if !info.SealTime.IsZero() {
			p.names[segment.FileName(info)] = true
		}
	}
}

func (p *present) add(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[name] = true
}

// remove forgets one that is about to be removed.
func (p *present) remove(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.names, name)
}

func (p *present) has(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names[name]
}

func (p *present) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.names))
}

// intact returns an error when the directory, or a file in it, is not there any more, or
// another directory is in its place. Files that are open go on as if nothing
// had happened, and nobody could read them again. An error while looking does not
// count: writing shows what it means for the log.
func (d *Directory) intact() error {
	held, err := d.lock.Stat()
	if err != nil {
		return nil
	}
	switch is, err := os.Stat(filepath.Join(d.path, disk.LockName)); {
	case errors.Is(err, os.ErrNotExist), err == nil && !os.SameFile(is, held):
		return lostDirectory(d.path)
	case err != nil:
		return nil
	}
	wanted := d.present.all()
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil
	}
	for _, name := range wanted {
		if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == name }) {
			continue
		}
		// A file that is replaced just now may be missing in the list.
		_, err := os.Lstat(filepath.Join(d.path, name))
		if errors.Is(err, os.ErrNotExist) && d.present.has(name) {
			return fmt.Errorf("cannot go on in raft directory %s: %w: the file %s was removed while the agent ran: put it back; if it is gone, see 'interrex agent repair --help', and before you stop an agent that is alone, save what it still shows by reads with --eventual", d.path, disk.ErrFailed, name)
		}
	}
	return nil
}

// lostDirectory is the error of a directory that was removed, or replaced by
// another one, after it was opened.
func lostDirectory(path string) error {
	return fmt.Errorf("cannot go on in raft directory %s: %w: it was removed or replaced while the agent ran, and what it held could not be read again: put it back if it was moved; if it is gone, the disk is lost: before you stop an agent that is alone, save what it still shows by reads with --eventual", path, disk.ErrFailed)
}
