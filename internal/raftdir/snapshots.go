package raftdir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// snapshotsName is the directory of raft's snapshots (hashicorp/raft,
// file_snapshot.go).
const snapshotsName = "snapshots"

// snapshots is the store of raft's snapshots on disk. Its writes have the disk's
// deadline.
type snapshots struct {
	raft.SnapshotStore
	dir   string // contains one directory for each
	files disk.Files
	disk  *disk.Disk
	whole func(raftlog.Position) error // called for each complete one

	mu   sync.Mutex
	last raftlog.Position // of the newest one
	size int64            // of the newest one
}

// position returns the position of the newest snapshot.
func (s *snapshots) position() raftlog.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// bytes returns the size of the newest snapshot, or 0 without one.
func (s *snapshots) bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

func (s *snapshots) add(p raftlog.Position, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.Reaches(p) || s.last == p {
		s.last, s.size = p, size
	}
}

func openSnapshots(path string, cfg Config, own disk.Files, d *Directory) (*snapshots, error) {
	dir := filepath.Join(path, snapshotsName)
	if err := disk.MakePrivate(dir); err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", err)
	}
	if err := removeUnfinished(dir); err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", err)
	}
	store, err := raft.NewFileSnapshotStoreWithLogger(path, cfg.Retain, cfg.Logger.Named("snapshot"))
	if err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", disk.Classify("make a snapshot", err))
	}
	return &snapshots{SnapshotStore: store, dir: dir, files: own, disk: d.disk, whole: d.installed}, nil
}

// removeUnfinished removes the files of snapshots that failed to begin or whose
// process ended: raft does not.
func removeUnfinished(dir string) error {
	names, err := disk.Named(dir, raftlog.Unfinished)
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// newest returns the position of the newest intact snapshot, and the directories of
// damaged ones.
func (s *snapshots) newest() (at raftlog.Position, damaged []string, err error) {
	newest, names, err := raftlog.ProvenSnapshots(s.dir)
	if err != nil {
		return at, nil, err
	}
	if newest != nil {
		s.add(raftlog.PositionOf(newest), newest.Size)
	}
	for _, name := range names {
		damaged = append(damaged, filepath.Join(snapshotsName, name))
	}
	return s.position(), damaged, nil
}

// List returns the newest snapshot only. raft would start from an older one if it cannot
// restore the newest, also where the log does not go back that far.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.SnapshotStore.List()
	return all[:min(1, len(all))], err
}

// Create begins a snapshot, of raft's own or of the leader's.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	var under raft.SnapshotSink
	err := s.disk.Bounded("begin a snapshot", func() (err error) {
		under, err = s.SnapshotStore.Create(version, index, term, members, membersIndex, trans)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &sink{SnapshotSink: under, store: s, at: raftlog.Position{Term: term, Index: index}}, nil
}

// slowDisk is how many bytes a slow disk reads or syncs in a second.
const slowDisk = 4 << 20

// allowed returns how long a call that reads or syncs so many bytes may take.
func (s *snapshots) allowed(bytes int64) time.Duration {
	return s.disk.Timeout + time.Duration(bytes/slowDisk)*time.Second
}

// Open opens a snapshot for reading. It is first read completely to verify it, with
// a deadline that grows with its size.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	var size atomic.Int64 // a late call still writes to it
	err := s.disk.Bounded("open a snapshot", func() error {
		file, err := os.Stat(filepath.Join(s.dir, id, raftlog.StateName))
		if err == nil {
			size.Store(file.Size())
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var o opening
	err = s.disk.Within(s.allowed(size.Load()), "read a snapshot", func() error { return o.open(s.SnapshotStore, id) })
	if err != nil {
		return nil, nil, errors.Join(err, o.giveUp())
	}
	return o.meta, &source{under: o.state, disk: s.disk}, nil
}

// opening is a snapshot that is being opened.
type opening struct {
	mu    sync.Mutex
	late  bool // its caller has given up
	meta  *raft.SnapshotMeta
	state io.ReadCloser
}

func (o *opening) open(store raft.SnapshotStore, id string) error {
	meta, state, err := store.Open(id)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.late {
		return state.Close()
	}
	o.meta, o.state = meta, state
	return nil
}

// giveUp closes the snapshot, now or as soon as it is open.
func (o *opening) giveUp() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.late = true
	if o.state == nil {
		return nil
	}
	return o.state.Close()
}

// source is a snapshot that is being read.
type source struct {
	under io.ReadCloser
	disk  *disk.Disk
	own   []byte // nil once a read has failed: a late one still writes to it
}

func (s *source) Read(b []byte) (n int, err error) {
	if len(s.own) < len(b) {
		s.own = make([]byte, len(b))
	}
	own, read := s.own[:len(b)], 0
	err = s.disk.Bounded("read a snapshot", func() (err error) {
		read, err = s.under.Read(own)
		return err
	})
	if errors.Is(err, disk.ErrHung) {
		s.own = nil
		return 0, err
	}
	return copy(b, own[:read]), err
}

func (s *source) Close() error { return s.disk.Bounded("close a snapshot", s.under.Close) }

// syncEvery is how many bytes of a snapshot are written between two fsyncs. If all of a
// large one were synced at its end, the fsyncs of the log would wait for it.
const syncEvery = 1 << 20

// sink is a snapshot that is being written.
type sink struct {
	raft.SnapshotSink
	store  *snapshots
	at     raftlog.Position
	size   int64 // bytes written
	synced int64 // of them
}

func (k *sink) Write(b []byte) (int, error) {
	// A late write still reads its bytes.
	mine := append([]byte(nil), b...)
	err := k.store.disk.Bounded("write a snapshot", func() error {
		_, err := k.SnapshotSink.Write(mine)
		return err
	})
	if err != nil {
		return 0, err
	}
	k.size += int64(len(b))
	if behind := k.size - k.synced; behind >= syncEvery {
		if err := k.store.disk.Within(k.store.allowed(behind), "write a snapshot", k.sync); err != nil {
			return 0, err
		}
		k.synced = k.size
	}
	return len(b), nil
}

// sync syncs what has been written so far, by name: raft does not share its file.
func (k *sink) sync() error {
	return k.store.files.Sync(filepath.Join(k.store.dir, k.ID()+raftlog.Unfinished, raftlog.StateName))
}

// Close completes the snapshot and writes its check beside it. All of it is synced,
// with a deadline that grows with its size.
func (k *sink) Close() error {
	return k.store.disk.Within(k.store.allowed(k.size), "finish a snapshot", func() error {
		if err := k.SnapshotSink.Close(); err != nil {
			return err
		}
		dir := filepath.Join(k.store.dir, k.ID())
		meta, err := os.ReadFile(filepath.Join(dir, raftlog.MetaName))
		if err != nil {
			return err
		}
		if err := disk.Replace(k.store.files, filepath.Join(dir, raftlog.CheckName), raftlog.ProofOf(meta)); err != nil {
			return err
		}
		k.store.add(k.at, k.size)
		return k.store.whole(k.at)
	})
}

// Cancel discards a snapshot.
func (k *sink) Cancel() error {
	return k.store.disk.Bounded("give up a snapshot", k.SnapshotSink.Cancel)
}
