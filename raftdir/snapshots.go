package raftdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// The names in a directory of raft's snapshots (hashicorp/raft, file_snapshot.go).
const (
	snapshotsName = "snapshots"
	metaName      = "meta.json"
	unfinished    = ".tmp"
	// checkName is the file that proves meta.json, which says of which entry a
	// snapshot is; raft's own checksum there proves only the state.
	checkName  = "check"
	checkMagic = "ixc1"
)

// snapshots are raft's snapshots on disk. What raft writes into one has the
// disk's deadline.
type snapshots struct {
	raft.SnapshotStore
	dir   string // that has one directory for each
	files files
	disk  *disk
	whole func(Position) error // is told of each one that is whole

	mu   sync.Mutex
	last Position // of the newest one
}

// position is that of the newest snapshot.
func (s *snapshots) position() Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

func (s *snapshots) add(p Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = later(s.last, p)
}

func openSnapshots(path string, cfg Config, own files, d *Directory) (*snapshots, error) {
	dir := filepath.Join(path, snapshotsName)
	if err := MakePrivate(dir); err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", err)
	}
	if err := removeUnfinished(dir); err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", err)
	}
	store, err := raft.NewFileSnapshotStoreWithLogger(path, cfg.Retain, cfg.Logger.Named("snapshot"))
	if err != nil {
		return nil, fmt.Errorf("cannot open snapshot store: %w", classify("make a snapshot", err))
	}
	return &snapshots{SnapshotStore: store, dir: dir, files: own, disk: d.disk, whole: d.installed}, nil
}

// removeUnfinished takes away what snapshots leave that could not be begun, or
// whose process ended: raft does not.
func removeUnfinished(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+unfinished))
	for _, name := range names {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// newest returns the position of the newest snapshot that proves itself, and the
// directories of those that do not.
func (s *snapshots) newest() (at Position, damaged []string, err error) {
	newest, names, err := provenSnapshots(s.dir)
	if err != nil {
		return at, nil, err
	}
	s.add(positionOf(newest))
	for _, name := range names {
		damaged = append(damaged, filepath.Join(snapshotsName, name))
	}
	return s.position(), damaged, nil
}

func proofOf(meta []byte) []byte {
	return binary.LittleEndian.AppendUint32([]byte(checkMagic), crc32.Checksum(meta, castagnoli))
}

// Create begins a snapshot, of raft's own or of the leader's.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, members raft.Configuration, membersIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	var under raft.SnapshotSink
	err := s.disk.bounded("begin a snapshot", func() (err error) {
		under, err = s.SnapshotStore.Create(version, index, term, members, membersIndex, trans)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &sink{SnapshotSink: under, store: s, at: Position{Term: term, Index: index}}, nil
}

// slowDisk is how many bytes of a snapshot a slow disk reads or syncs in a second.
const slowDisk = 4 << 20

// allowed is how long a call may take that reads or syncs so many bytes.
func (s *snapshots) allowed(bytes int64) time.Duration {
	return s.disk.timeout + time.Duration(bytes/slowDisk)*time.Second
}

// Open opens a snapshot to be read. All of it is read once before, to see that it
// is whole, for which it has more time the larger it is.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	var size atomic.Int64 // which a call that is late still writes to
	err := s.disk.bounded("open a snapshot", func() error {
		file, err := os.Stat(filepath.Join(s.dir, id, stateName))
		if err == nil {
			size.Store(file.Size())
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	var o opening
	err = s.disk.within(s.allowed(size.Load()), "read a snapshot", func() error { return o.open(s.SnapshotStore, id) })
	if err != nil {
		return nil, nil, errors.Join(err, o.giveUp())
	}
	return o.meta, &source{under: o.state, disk: s.disk}, nil
}

// opening is a snapshot that is being opened.
type opening struct {
	mu    sync.Mutex
	late  bool // nobody waits for it any more
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

// giveUp closes the snapshot, now or when it is open.
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
	disk  *disk
	own   []byte // nil once a read has failed: one that is late still writes to it
}

func (s *source) Read(b []byte) (n int, err error) {
	if len(s.own) < len(b) {
		s.own = make([]byte, len(b))
	}
	own, read := s.own[:len(b)], 0
	err = s.disk.bounded("read a snapshot", func() (err error) {
		read, err = s.under.Read(own)
		return err
	})
	if errors.Is(err, ErrDiskHung) {
		s.own = nil
		return 0, err
	}
	return copy(b, own[:read]), err
}

func (s *source) Close() error { return s.disk.bounded("close a snapshot", s.under.Close) }

// sink is a snapshot that is being written.
type sink struct {
	raft.SnapshotSink
	store *snapshots
	at    Position
	size  int64 // of what was written
}

func (k *sink) Write(b []byte) (int, error) {
	// A write that has not returned in time still reads its bytes.
	mine := append([]byte(nil), b...)
	err := k.store.disk.bounded("write a snapshot", func() error {
		_, err := k.SnapshotSink.Write(mine)
		return err
	})
	if err != nil {
		return 0, err
	}
	k.size += int64(len(b))
	return len(b), nil
}

// Close puts the snapshot in its place, and what proves it beside it. All that
// was written is synced there, for which it has more time the more that is.
func (k *sink) Close() error {
	return k.store.disk.within(k.store.allowed(k.size), "finish a snapshot", func() error {
		if err := k.SnapshotSink.Close(); err != nil {
			return err
		}
		dir := filepath.Join(k.store.dir, k.ID())
		meta, err := os.ReadFile(filepath.Join(dir, metaName))
		if err != nil {
			return err
		}
		if err := replaceFile(k.store.files, filepath.Join(dir, checkName), proofOf(meta)); err != nil {
			return err
		}
		k.store.add(k.at)
		return k.store.whole(k.at)
	})
}

// Cancel discards a snapshot.
func (k *sink) Cancel() error {
	return k.store.disk.bounded("give up a snapshot", k.SnapshotSink.Cancel)
}
