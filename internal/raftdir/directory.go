package raftdir

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// Config is the optional configuration of a directory.
type Config struct {
	Logger hclog.Logger // of raft-wal and raft's snapshots; nil: nothing is logged
	Clock  clock.Clock  // of the deadlines; nil: the wall clock
	// WriteTimeout is how long a call on the disk may take; 0: disk.DefaultTimeout.
	WriteTimeout time.Duration
	// SegmentSize is the size of a file of the log, reserved when it is created;
	// 0: raftlog.DefaultSegmentSize.
	SegmentSize int
	// NoSync omits fsync. A crash of the machine (not of the process) may then
	// lose entries that were acknowledged: a cluster may forget a lease that it has
	// granted, or grant a token twice.
	NoSync bool
	// Synced is called with the duration of each fsync of the log. It must not
	// block.
	Synced func(time.Duration)
	// Retain is how many snapshots are kept; 0: 2.
	Retain int
	// Files is the file system under the log; nil: this machine's.
	Files types.VFS
	// Earlier is what is known of the directory from earlier calls of Open; nil:
	// nothing.
	Earlier *Earlier
}

const defaultRetain = 2

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = hclog.NewNullLogger()
	}
	if c.Clock == nil {
		c.Clock = clock.WallClock
	}
	if c.SegmentSize <= 0 {
		c.SegmentSize = raftlog.DefaultSegmentSize
	}
	if c.Retain <= 0 {
		c.Retain = defaultRetain
	}
	if c.Files == nil {
		c.Files = fs.New()
	}
	if c.Earlier == nil {
		c.Earlier = new(Earlier)
	}
	return c
}

// Directory is an open raft directory: lock, log, term and vote, floor and
// snapshots, with one deadline for every call. It is itself raft's log store: it
// allows no gap between entries (raft.MonotonicLogStore), and is safe for
// concurrent use. After Close every call returns disk.ErrClosed, except GetLog after
// Release.
type Directory struct {
	path      string
	lock      *disk.DirLock
	disk      *disk.Disk
	wal       *wal.WAL
	segments  *segments
	stable    *stableStore
	floor     *floor
	snapshots *snapshots
	present   present
	report    raftlog.Report
	vouched   atomic.Pointer[vouched]
	cleared   atomic.Uint64 // index of the snapshot that replaced the whole log; 0: the log is not empty

	floors sync.Mutex // held while the floor changes, also while that waits for the disk

	mu     sync.Mutex       // never held while waiting for the disk
	end    raftlog.Position // of the log or the newest snapshot, whichever is later
	short  bool             // the end has not reached the floor yet
	copied bool             // it may be an older copy that was restored
	refill *refill          // nil: it is not condemned

	cutOff atomic.Bool // whether Release was called

	stop    chan struct{} // closed to end maintain, which then closes
	synced  chan struct{} // this
	closing sync.Once
	closed  chan struct{} // closed when nothing is open any more
	err     error         // of closing; read only after closed is closed
}

var (
	_ raft.LogStore          = (*Directory)(nil)
	_ raft.MonotonicLogStore = (*Directory)(nil)
)

// Open opens raft's directory, and creates it (0700) if there is none. Only the
// caller may use it until Close has returned; the error is disk.ErrInUse when it is
// in use. A directory that is not interrex's, or of another version, is refused
// with an error that says so, and one that has lost its vote or its floor with
// ErrForgotten.
//
// Log and snapshots are checked first, completely. What does not pass is set aside:
// Report says what, and whether the log ends before its floor.
//
// Its deadline is WriteTimeout, and a second for each 2 MiB in the directory. After
// that the error is disk.ErrHung, and what is opened later is closed again.
func Open(path string, cfg Config) (*Directory, error) {
	cfg = cfg.withDefaults()
	d := &Directory{path: path, disk: disk.New(cfg.Clock, cfg.WriteTimeout), stop: make(chan struct{}), synced: make(chan struct{}), closed: make(chan struct{})}
	if err := cfg.Earlier.open(d, cfg); err != nil {
		return nil, err
	}
	return d, nil
}

// take locks the directory and opens what is in it.
func (d *Directory) take(cfg Config) error {
	own := disk.OS{NoSync: cfg.NoSync}
	if err := cfg.Earlier.mayOpen(d.path); err != nil {
		return err
	}
	unstamped, err := createOrCheck(d.path)
	if err != nil {
		return err
	}
	if d.lock, err = disk.LockDir(d.path, "raft log"); err != nil {
		return err
	}
	if unstamped {
		err = initialise(own, d.path)
	}
	if err == nil {
		d.copied, err = isCopy(d.path)
	}
	if err == nil {
		err = d.open(cfg, own)
	}
	if err != nil {
		return errors.Join(err, d.closeFloor(), d.lock.Unlock())
	}
	return nil
}

func (d *Directory) open(cfg Config, own disk.Files) error {
	if err := d.empty(own); err != nil {
		return err
	}
	c, err := d.check(cfg, own)
	if err != nil {
		return err
	}
	if err := c.Mend(own, cfg.Files); err != nil {
		return err
	}
	d.report, d.end, d.short = c.Report, c.End, c.Short()
	if err := d.openLog(cfg, own, c.List()); err != nil {
		return err
	}
	if why := d.Condemned(); why != nil {
		d.report.Notes = append(d.report.Notes, why.Error())
	}
	if err := errors.Join(d.raise(d.end, d.end.Term), d.noteCleared(), d.refilled()); err != nil {
		return errors.Join(err, d.wal.Close())
	}
	go d.maintain()
	return nil
}

// check opens the files beside the log, and checks the log.
func (d *Directory) check(cfg Config, own disk.Files) (*raftlog.Check, error) {
	var err error
	if d.stable, err = openStable(d.path, d.disk, own); err != nil {
		return nil, err
	}
	if d.floor, err = openFloor(d.path, cfg.NoSync); err != nil {
		return nil, err
	}
	if d.snapshots, err = openSnapshots(d.path, cfg, own, d); err != nil {
		return nil, err
	}
	newest, damaged, err := d.snapshots.newest()
	if err != nil {
		return nil, err
	}
	c, err := raftlog.Inspect(d.path, newest, d.floor.get())
	if err != nil {
		return nil, err
	}
	if term := d.stable.saved.currentTerm; term < max(c.End.Term, c.Floor.Term) {
		return nil, fmt.Errorf("cannot use raft directory %s: %w: its vote is of term %d, and its log is of term %d", d.path, ErrForgotten, term, max(c.End.Term, c.Floor.Term))
	}
	c.Damaged(damaged...)
	return c, nil
}

func (d *Directory) openLog(cfg Config, own disk.Files, list types.PersistentState) error {
	failed := func(what string, err error) { d.disk.Fail(disk.Classify(what, err)) }
	files := vfs{VFS: cfg.Files, noSync: cfg.NoSync, synced: cfg.Synced, failed: failed, present: &d.present}
	d.present.begin(list)
	d.segments = &segments{path: filepath.Join(d.path, raftlog.SegmentsName), files: own, failed: failed, rotated: d.floor.sync, state: list}
	log, err := wal.Open(d.path,
		wal.WithLogger(cfg.Logger.Named("wal")),
		wal.WithSegmentSize(cfg.SegmentSize),
		wal.WithSegmentFiler(filer{segment.NewFiler(d.path, files)}),
		wal.WithMetaStore(d.segments))
	if err != nil {
		return fmt.Errorf("cannot open raft log in %s: %w", d.path, disk.Classify("read it", err))
	}
	d.wal = log
	return nil
}

// Report returns what was found when the directory was opened.
func (d *Directory) Report() raftlog.Report { return d.report }

// Stable returns the store of raft's term and vote.
func (d *Directory) Stable() raft.StableStore { return d.stable }

// Snapshots returns the store of raft's snapshots.
func (d *Directory) Snapshots() raft.SnapshotStore { return d.snapshots }

// Failed returns a channel that is closed at the first failure of the disk. It is
// final: what a store holds after one is unknown until it is opened again.
func (d *Directory) Failed() <-chan struct{} { return d.disk.Failed() }

// Failure returns the first failure of the disk; nil: there was none.
func (d *Directory) Failure() error { return d.disk.Failure() }

// Release lets raft's calls return after a failure. The caller has made sure that
// nothing that raft sends leaves this agent, and nothing it reads reaches the state.
func (d *Directory) Release() {
	d.cutOff.Store(true)
	d.disk.Release()
}

// Disk returns the state of the disk.
func (d *Directory) Disk() disk.State { return d.disk.State() }

// FirstIndex returns the index of the oldest entry; 0: there is none.
func (d *Directory) FirstIndex() (uint64, error) {
	if err := d.disk.Readable(); err != nil {
		return 0, err
	}
	return d.wal.FirstIndex()
}

// LastIndex returns the index of the newest entry; 0: there is none.
func (d *Directory) LastIndex() (uint64, error) {
	if err := d.disk.Readable(); err != nil {
		return 0, err
	}
	return d.wal.LastIndex()
}

// GetLog reads an entry; the error is raft.ErrLogNotFound when there is none. If
// the log does not have the last entry of the newest snapshot, GetLog returns a
// no-op of its term: see StandsIn.
//
// raft panics on any other error, which would end the process. So an entry that is
// damaged, or is not read within the disk's deadline, fails the disk, which ends
// this life of raft; the read waits until raft is cut off, and then returns an
// entry that does nothing. The same goes for a read after Close by a raft that was
// released but has not ended: one that somebody else has shut down is not waited
// for, since raft.Shutdown returns a useful future only once.
func (d *Directory) GetLog(index uint64, log *raft.Log) error {
	read, err := d.read(index)
	switch {
	case err == nil:
		*log = *read
		return nil
	case errors.Is(err, wal.ErrNotFound):
		term, ok := d.standIn(index)
		if !ok {
			return raft.ErrLogNotFound
		}
		*log = raft.Log{Index: index, Term: term, Type: raft.LogNoop, Extensions: standsIn}
		return nil
	case !d.cutOff.Load() && (errors.Is(err, wal.ErrClosed) || errors.Is(err, disk.ErrClosed)):
		return disk.ErrClosed
	}
	d.disk.Fail(err)
	<-d.disk.Released()
	*log = raft.Log{Index: index, Term: d.End().Term, Type: raft.LogNoop}
	return nil
}

// read reads an entry within the disk's deadline.
func (d *Directory) read(index uint64) (*raft.Log, error) {
	log := new(raft.Log) // a late read still writes to it
	err := d.disk.Bounded("read raft log", func() error { return d.wal.GetLog(index, log) })
	return log, err
}

// StoreLog writes one entry.
func (d *Directory) StoreLog(log *raft.Log) error { return d.StoreLogs([]*raft.Log{log}) }

// StoreLogs writes entries; when it returns nil they are on disk and included in
// the floor. After an error nothing is written any more until the store is opened
// again.
func (d *Directory) StoreLogs(logs []*raft.Log) error {
	return d.disk.Write("append to raft log", func() error {
		if err := d.wal.StoreLogs(logs); err != nil || len(logs) == 0 {
			return err
		}
		last := logs[len(logs)-1]
		return d.noteStored(raftlog.Position{Term: last.Term, Index: last.Index})
	})
}

// DeleteRange removes the oldest or the newest entries.
func (d *Directory) DeleteRange(first, last uint64) error {
	return d.disk.Write("truncate raft log", func() error {
		if err := d.lower(first, last); err != nil {
			return err
		}
		if err := d.wal.DeleteRange(first, last); err != nil {
			return err
		}
		return d.noteCleared()
	})
}

// IsMonotonic reports that the store allows no gap.
func (d *Directory) IsMonotonic() bool { return d.wal.IsMonotonic() }

// Close refuses every later call, closes the files and releases the directory.
// While a call to the disk hangs it returns disk.ErrHung within the deadline; the
// directory is released only when that call has returned.
func (d *Directory) Close() error {
	d.disk.Close()
	d.disk.Release()
	drained := d.disk.Drained()
	d.closing.Do(func() { go d.closeWhen(drained) })
	deadline := d.disk.Timeout
	if errors.Is(d.disk.Failure(), disk.ErrHung) {
		deadline = 0
	}
	timer := d.disk.Clock.NewTimer(deadline)
	defer timer.Stop()
	select {
	case <-d.closed:
		return d.err
	case <-timer.Chan():
		return fmt.Errorf("cannot close raft log: %w: a call has not returned", disk.ErrHung)
	}
}

func (d *Directory) closeWhen(drained <-chan struct{}) {
	<-drained
	d.disk.End()
	close(d.stop)
	<-d.synced
	d.err = errors.Join(d.wal.Close(), d.closeFloor(), d.lock.Unlock())
	close(d.closed)
}

func (d *Directory) closeFloor() error {
	if d.floor == nil {
		return nil
	}
	return d.floor.close()
}
