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

// present is the names of the files that this agent has created or opened in the
// directory and not removed.
type present struct {
	mu    sync.Mutex
	names map[string]bool
}

// begin records the files of a log that is being opened, except its tail, which is
// opened or created next.
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

// remove removes the name of a file that is about to be removed.
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

// intact returns an error when the directory, or a file in it, no longer exists, or
// another directory is in its place. Open files would continue to work, and could
// not be read after a restart. Errors of the check itself are ignored: if they
// affect the log, its writes fail.
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
		// A file that is being replaced may be missing in the list.
		_, err := os.Lstat(filepath.Join(d.path, name))
		if errors.Is(err, os.ErrNotExist) && d.present.has(name) {
			return fmt.Errorf("cannot continue in raft directory %s: %w: the file %s was removed while the agent was running: put it back; if it is gone, see 'interrex agent repair --help', and before you stop an agent that is the only one, save its state by reads with --eventual", d.path, disk.ErrFailed, name)
		}
	}
	return nil
}

// lostDirectory returns the error for a directory that was removed or replaced
// after it was opened.
func lostDirectory(path string) error {
	return fmt.Errorf("cannot continue in raft directory %s: %w: it was removed or replaced while the agent was running, and its content could not be read after a restart: put it back if it was moved; if it is gone, the disk is lost: before you stop an agent that is the only one, save its state by reads with --eventual", path, disk.ErrFailed)
}
