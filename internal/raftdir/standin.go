package raftdir

import (
	"errors"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// standsIn marks a no-op in place of an entry that the log does not have.
var standsIn = []byte("stands in")

// StandsIn reports whether an entry that GetLog returned is in place of one that the
// log does not have. Its term is right, its content is not: it must never be sent
// to another agent.
func StandsIn(log *raft.Log) bool {
	return log.Type == raft.LogNoop && string(log.Extensions) == string(standsIn)
}

// vouched is the terms of consecutive entries, according to a leader.
type vouched struct {
	first uint64
	terms []uint64
}

// Vouch makes GetLog return, until done is called, stand-ins for entries from first
// on that the log does not have and whose terms are known. They must be entries
// that are applied here.
func (d *Directory) Vouch(first uint64, terms []uint64) (done func()) {
	d.vouched.Store(&vouched{first: first, terms: terms})
	return func() { d.vouched.Store(nil) }
}

// standIn returns the term of an entry that the log does not have. raft compares the
// terms of the entries that it is sent, and of the one before them, with the log's
// and looks nowhere else.
//
// The newest snapshot supplies the term of its last entry if the log continues from
// there, or is empty because raft has cleared it: raft has applied that snapshot.
// Index 1 has no entry before it: raft reads it only to send it as the leader, so it
// is not found.
func (d *Directory) standIn(index uint64) (term uint64, ok bool) {
	if v := d.vouched.Load(); v != nil && index >= v.first && index-v.first < uint64(len(v.terms)) {
		return v.terms[index-v.first], true
	}
	snapshot := d.snapshots.position()
	if index == 1 || index != snapshot.Index {
		return 0, false
	}
	first, err := d.wal.FirstIndex()
	return snapshot.Term, err == nil && (first == index+1 || first == 0 && d.cleared.Load() == index)
}

// noteCleared records that the log is empty because a snapshot has replaced it.
func (d *Directory) noteCleared() error {
	last, err := d.wal.LastIndex()
	if err == nil && last == 0 {
		d.cleared.Store(d.snapshots.position().Index)
	}
	return err
}

// TermAt returns the term of an entry of the log; the error is raft.ErrLogNotFound
// when the log does not have it. It waits only for the disk.
func (d *Directory) TermAt(index uint64) (uint64, error) {
	log, err := d.read(index)
	switch {
	case err == nil:
		return log.Term, nil
	case errors.Is(err, wal.ErrNotFound):
		return 0, raft.ErrLogNotFound
	case errors.Is(err, wal.ErrClosed), errors.Is(err, disk.ErrClosed):
		return 0, disk.ErrClosed
	default:
		d.disk.Fail(err)
		return 0, err
	}
}

// CutFor cuts the log from a position's index on if the entry there has another
// term: the position's is committed, so no entry of the log from there on is. Raft
// must have ended.
func (d *Directory) CutFor(p raftlog.Position) error {
	term, err := d.TermAt(p.Index)
	if errors.Is(err, raft.ErrLogNotFound) || err == nil && term == p.Term {
		return nil
	}
	if err != nil {
		return err
	}
	last, err := d.LastIndex()
	if err != nil {
		return err
	}
	return d.DeleteRange(p.Index, last)
}
