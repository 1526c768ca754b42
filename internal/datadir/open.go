package datadir

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/juju/clock"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/machine"
)

// Dir is an agent's directory, locked, and the identity in it.
type Dir struct {
	Identity
	Path string

	lock   *disk.DirLock
	remove func() error
	purge  atomic.Bool // raft's data is deleted at the end

	noting sync.Mutex
	saved  Identity // as it is on the disk
}

// Open opens and locks an agent's directory, and makes its identity if it has none.
// id is the agent's, as Identity wants it. Path "" makes a directory for an agent in
// memory, which Close removes: in a file system that is memory, where there is one.
func Open(path string, id func(path string) string) (*Dir, error) {
	path, remove, err := made(path)
	if err != nil {
		return nil, err
	}
	is, err := OpenIdentity(path, id(path))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("agent.data-dir: %w", err), remove())
	}
	lock, err := disk.LockDir(path, "agent "+is.ID)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	return &Dir{Identity: is, Path: path, lock: lock, remove: remove, saved: is}, nil
}

// made returns a directory, and what removes it at the end if it is in memory.
func made(given string) (path string, remove func() error, err error) {
	if given != "" {
		return given, func() error { return nil }, nil
	}
	parent := "/dev/shm"
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = ""
	}
	path, err = os.MkdirTemp(parent, "interrex-")
	if err != nil {
		return "", nil, fmt.Errorf("cannot make a directory for an agent in memory: %w", err)
	}
	return path, func() error { return os.RemoveAll(path) }, nil
}

// Close deletes raft's data if that was asked for, and unlocks the directory.
func (d *Dir) Close() error {
	var err error
	if d.purge.Load() {
		err = errors.Join(os.RemoveAll(filepath.Join(d.Path, RaftDir)), os.RemoveAll(filepath.Join(d.Path, PeersName)))
	}
	return errors.Join(err, d.lock.Unlock(), d.remove())
}

// Purge notes that the agent was removed from its cluster, and has Close delete raft's
// data. The identity stays, and with it the note: an agent that is started again takes
// part in nothing, and founds no cluster.
func (d *Dir) Purge() error {
	if err := d.NoteRemoval(); err != nil {
		return err
	}
	d.purge.Store(true)
	return nil
}

// NoteRemoval notes on disk that the agent was removed from its cluster.
func (d *Dir) NoteRemoval() error { return d.note(func(is *Identity) { is.Removed = true }) }

// NoteJoins notes on disk which cluster has issued the agent's certificate.
func (d *Dir) NoteJoins(clusterID string) error {
	return d.note(func(is *Identity) { is.Join(clusterID) })
}

// NoteForwards notes on disk which cluster an agent without raft forwards requests to.
func (d *Dir) NoteForwards(clusterID string, epoch interrex.Epoch) error {
	return d.note(func(is *Identity) { is.Joins, is.Epoch = clusterID, epoch })
}

// Present returns the identity as it is on the disk now. The embedded one is that of the
// agent's start.
func (d *Dir) Present() Identity {
	d.noting.Lock()
	defer d.noting.Unlock()
	return d.saved
}

// note changes the identity on disk, or leaves it as it is.
func (d *Dir) note(change func(*Identity)) error {
	d.noting.Lock()
	defer d.noting.Unlock()
	next := d.saved
	change(&next)
	err := SaveIdentity(d.Path, next)
	if err == nil {
		d.saved = next
	}
	return err
}

// KeepIdentity returns a function that notes on disk, until its context ends, which
// cluster the replicated state belongs to, and the disks of its members: those of the
// founders, and those that are recorded, which disks returns by ID.
func (d *Dir) KeepIdentity(st *machine.State, disks func() map[string]string, now clock.Clock, logger interrex.Logger) func(context.Context) error {
	return keeper{state: st, disks: disks, dir: d, clock: now, logger: logger}.run
}

// keeper notes the identity of one state.
type keeper struct {
	state  *machine.State
	disks  func() map[string]string
	dir    *Dir
	clock  clock.Clock
	logger interrex.Logger
}

// run saves the cluster's identity whenever the state knows another one.
func (k keeper) run(ctx context.Context) error {
	saved := k.dir.Identity
	for first := saved.ClusterID == ""; k.wait(ctx, first); first = false {
		known := k.state.Identity()
		same, members := known.ClusterID == saved.ClusterID && known.Epoch == saved.Epoch, saved.Incarnations
		at := k.state.Revision()
		if !same || at >= saved.KnownAt { // what a snapshot has may be older
			members = map[string]string{}
			maps.Copy(members, known.Incarnations)
			maps.Copy(members, k.disks())
		}
		if known.ClusterID == "" || same && maps.Equal(members, saved.Incarnations) {
			continue
		}
		err := k.dir.note(func(is *Identity) {
			is.Joins = ""
			is.ClusterID, is.Epoch, is.Incarnations, is.KnownAt = known.ClusterID, known.Epoch, members, at
		})
		if err != nil {
			k.logger.Warningf("%v; retrying", err)
			continue
		}
		saved.ClusterID, saved.Epoch, saved.Incarnations, saved.KnownAt = known.ClusterID, known.Epoch, members, at
	}
	return nil
}

// wait waits until the next look at the state's identity: the first time until
// the entry with it is applied, so that a crash soon after finds it on disk. It
// reports false when the worker ends.
func (k keeper) wait(ctx context.Context, first bool) bool {
	if first && k.state.WaitRevision(ctx, 1) == nil {
		return true
	}
	return backoff.Pause(ctx, k.clock.After(200*time.Millisecond))
}
