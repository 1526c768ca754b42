package raftworker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// metaStore keeps the list of the log's segments, and mends its end.
//
// The append that fills a segment seals it, and the list learns of that later.
// The log does not look for a process that ended in between, or a disk that was
// full then: raft-wal v0.4.1 would open such a log, and refuse every append to
// it for ever.
type metaStore struct {
	types.MetaStore
	dir    string
	vfs    types.VFS
	failed func(what string, err error)
}

// CommitState replaces the list. The log makes it in the background, too, and
// would only say later that a segment is sealed.
func (m metaStore) CommitState(s types.PersistentState) error {
	err := m.MetaStore.CommitState(s)
	if err != nil {
		m.failed("write the list of log segments", err)
	}
	return err
}

// Load gives the list, whose last segment takes appends.
func (m metaStore) Load(dir string) (types.PersistentState, error) {
	s, err := m.MetaStore.Load(dir)
	if err != nil || len(s.Segments) == 0 {
		return s, err
	}
	tail := &s.Segments[len(s.Segments)-1]
	if !tail.SealTime.IsZero() {
		return s, nil
	}
	start, last, err := m.sealOf(*tail)
	if err != nil || start == 0 {
		return s, err
	}
	whole, err := m.isWhole(*tail, start, last)
	if err != nil {
		return s, err
	}
	if !whole {
		return s, m.unseal(*tail, start)
	}
	tail.SealTime, tail.MaxIndex, tail.IndexStart = time.Now(), last, start
	s.Segments = append(s.Segments, types.SegmentInfo{
		ID: s.NextSegmentID, BaseIndex: last + 1, MinIndex: last + 1,
		SizeLimit: tail.SizeLimit, Codec: tail.Codec, CreateTime: tail.SealTime,
	})
	s.NextSegmentID++
	return s, m.MetaStore.CommitState(s)
}

// sealOf finds where the index of a sealed segment begins, and its last entry.
// 0: it is not sealed, or has no file yet.
func (m metaStore) sealOf(tail types.SegmentInfo) (start, last uint64, err error) {
	w, err := segment.NewFiler(m.dir, m.vfs).RecoverTail(tail)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	_, start, err = w.Sealed()
	return start, w.LastIndex(), errors.Join(err, w.Close())
}

// frameHeader is what stands before an index: one byte of type, and from the
// fourth on its length, four bytes for each entry.
const frameHeader = 8

// isWhole reports whether the append that sealed a segment is complete. Of one
// that is not, the entries are left out, and the index has more than there are.
func (m metaStore) isWhole(tail types.SegmentInfo, start, last uint64) (bool, error) {
	f, err := m.vfs.OpenReader(m.dir, segment.FileName(tail))
	if err != nil {
		return false, err
	}
	defer f.Close()
	var head [frameHeader]byte
	if _, err := f.ReadAt(head[:], int64(start)-frameHeader); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("cannot read the index of log segment %s: %w", segment.FileName(tail), err)
	}
	length := uint64(binary.LittleEndian.Uint32(head[4:]))
	return head[0] == segment.FrameIndex && length == 4*(last+1-tail.BaseIndex), nil
}

// unseal wipes out an index that is not whole and all that follows it: nobody
// was told that it is on disk.
func (m metaStore) unseal(tail types.SegmentInfo, start uint64) error {
	f, err := m.vfs.OpenWriter(m.dir, segment.FileName(tail))
	if err != nil {
		return err
	}
	at := int64(start) - frameHeader
	rest, err := io.ReadAll(io.NewSectionReader(f, at, 1<<62-at))
	if err == nil {
		_, err = f.WriteAt(make([]byte, len(rest)), at)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
