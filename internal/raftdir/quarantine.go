package raftdir

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// End returns the end of the log or of the newest snapshot, whichever is later.
func (d *Directory) End() raftlog.Position {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.end
}

// Floor returns the last position that this agent has stored.
func (d *Directory) Floor() raftlog.Floor { return d.floor.get() }

// Term returns raft's current term, as it is on disk.
func (d *Directory) Term() uint64 { return d.stable.term.Load() }

// Quarantined reports whether this agent has stored entries that its log and
// snapshots no longer have. It may then only do what it would also have done with
// them. The quarantine ends when the end reaches the floor.
func (d *Directory) Quarantined() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.short
}

// Copied reports whether this directory is not where it was created: it may be an
// older copy of what this agent has stored and promised.
func (d *Directory) Copied() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.copied
}

// Trust records that this directory is not an older copy.
func (d *Directory) Trust() error {
	err := d.disk.Bounded("stamp the raft directory", func() error { return writeStamp(disk.OS{}, d.path) })
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.copied = false
	return nil
}

// noteStored records that entries up to a position are stored.
func (d *Directory) noteStored(p raftlog.Position) error {
	d.floors.Lock()
	defer d.floors.Unlock()
	d.ends(p)
	return errors.Join(d.raise(p, d.Term()), d.refilled())
}

// installed records a complete snapshot.
func (d *Directory) installed(p raftlog.Position) error {
	d.floors.Lock()
	defer d.floors.Unlock()
	d.ends(raftlog.Later(d.End(), p))
	return errors.Join(d.raise(p, d.Term()), d.refilled())
}

// ends records where the log or a snapshot ends, which may end the quarantine.
func (d *Directory) ends(p raftlog.Position) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.end = p
	d.short = d.short && !p.Reaches(d.floor.get().Position)
}

// Promise takes a position that this agent has stored according to another agent,
// which learned it in a term. If this agent does not have it, and has not written
// its floor since, it becomes the floor, on disk, and this agent is in quarantine.
func (d *Directory) Promise(p raftlog.Position, in uint64) error {
	if d.floor.get().Knows(p, in) {
		return nil
	}
	err := d.disk.Bounded("write the floor", func() error { return d.promise(p, in) })
	if err != nil {
		d.disk.Fail(disk.Classify("write the floor", err))
		return fmt.Errorf("cannot write the floor: %w", err)
	}
	return nil
}

func (d *Directory) promise(p raftlog.Position, in uint64) error {
	d.floors.Lock()
	defer d.floors.Unlock()
	f := d.floor.get()
	if f.Knows(p, in) {
		return nil
	}
	if err := d.floor.set(p, f.Since); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.short = !d.end.Reaches(p)
	return nil
}

func (d *Directory) raise(p raftlog.Position, since uint64) error {
	if err := d.floor.raise(p, since); err != nil {
		return fmt.Errorf("cannot write the floor: %w", err)
	}
	return nil
}

// lower lowers the floor before entries are removed from the end of the log because
// they conflict with the leader's. Entries that a snapshot replaces do not lower
// it, and in quarantine nothing does.
func (d *Directory) lower(first, last uint64) error {
	end, err := d.wal.LastIndex()
	if err != nil || last < end || end == 0 {
		return err
	}
	snapshot := d.snapshots.position()
	if snapshot.Index >= end {
		return nil
	}
	left := snapshot
	if begin, err := d.wal.FirstIndex(); err != nil {
		return err
	} else if first > begin {
		var log raft.Log
		if err := d.wal.GetLog(first-1, &log); err != nil {
			return err
		}
		left = raftlog.Later(left, raftlog.Position{Term: log.Term, Index: log.Index})
	}
	d.floors.Lock()
	defer d.floors.Unlock()
	d.mu.Lock()
	d.end = left
	short := d.short
	d.mu.Unlock()
	if short {
		return nil
	}
	return d.floor.set(left, d.Term())
}

// maintain syncs the floor once every floorPeriod, so that appends need not wait for
// it, and checks whether the directory still exists.
func (d *Directory) maintain() {
	defer close(d.synced)
	timer := d.disk.Clock.NewTimer(floorPeriod)
	defer timer.Stop()
	for {
		select {
		case <-d.stop:
			return
		case <-timer.Chan():
		}
		err := d.disk.Bounded("sync the floor", d.floor.sync)
		if err != nil {
			err = disk.Classify("sync the floor", err)
		} else {
			err = d.disk.Bounded("check the raft directory", d.intact)
		}
		if err != nil {
			d.disk.Fail(err)
			<-d.stop
			return
		}
		timer.Reset(floorPeriod)
	}
}
