package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
)

// SegmentsName is the name of the file with the list of segments.
const SegmentsName = "segments"

const (
	segmentsMagic = "ixs1"
	segmentBytes  = 8*8 + 4
)

// DefaultSegmentSize is smaller than raft-wal's own 64 MiB: a lease's entry has a
// few hundred bytes, and an idle agent should not reserve more than it fills in a
// day.
const DefaultSegmentSize = 16 << 20

// readSegments reads the list of a directory; the error is disk.ErrDamaged when it
// is damaged or missing.
func readSegments(dir string) (types.PersistentState, error) {
	path := filepath.Join(dir, SegmentsName)
	data, err := disk.ReadFile(path)
	if err != nil {
		return types.PersistentState{}, fmt.Errorf("cannot read the list of log segments: %w", err)
	}
	if data == nil {
		return types.PersistentState{}, fmt.Errorf("the list of log segments, %s, is missing: %w", path, disk.ErrDamaged)
	}
	s, err := decodeSegments(data)
	if err != nil {
		return s, fmt.Errorf("the list of log segments, %s: %w: %w", path, disk.ErrDamaged, err)
	}
	return s, nil
}

// EncodeSegments returns the content of that file.
func EncodeSegments(s types.PersistentState) []byte {
	b := []byte(segmentsMagic)
	b = binary.LittleEndian.AppendUint64(b, s.NextSegmentID)
	for _, i := range s.Segments {
		for _, v := range []uint64{i.ID, i.BaseIndex, i.MinIndex, i.MaxIndex, i.Codec, i.IndexStart, nanos(i.CreateTime), nanos(i.SealTime)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = binary.LittleEndian.AppendUint32(b, i.SizeLimit)
	}
	return disk.AppendSum(b)
}

func decodeSegments(b []byte) (types.PersistentState, error) {
	var s types.PersistentState
	body, err := disk.CheckSum(b, segmentsMagic)
	if err == nil && (len(body) < 8 || (len(body)-8)%segmentBytes != 0) {
		err = errors.New("it is too short or too long for a list")
	}
	if err != nil {
		return s, err
	}
	s.NextSegmentID = binary.LittleEndian.Uint64(body)
	for body = body[8:]; len(body) > 0; body = body[segmentBytes:] {
		at := func(n int) uint64 { return binary.LittleEndian.Uint64(body[8*n:]) }
		s.Segments = append(s.Segments, types.SegmentInfo{
			ID: at(0), BaseIndex: at(1), MinIndex: at(2), MaxIndex: at(3), Codec: at(4), IndexStart: at(5),
			CreateTime: moment(at(6)), SealTime: moment(at(7)), SizeLimit: binary.LittleEndian.Uint32(body[64:]),
		})
	}
	return s, nil
}

func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixNano())
}

func moment(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n))
}

// SegmentSuffix ends the name of a segment's file.
const SegmentSuffix = ".wal"

// rebuildList makes a list of the segments whose files exist. From a segment's first
// entry on, it supersedes older segments. A segment that had just been removed from
// the list does no harm: its entries are an older log's, and the floor says whether
// others are missing.
func rebuildList(dir string) (types.PersistentState, error) {
	var s types.PersistentState
	names, err := disk.Named(dir, SegmentSuffix)
	if err != nil {
		return s, err
	}
	for _, path := range names {
		var info types.SegmentInfo
		if n, err := fmt.Sscanf(filepath.Base(path), "%020d-%016x.wal", &info.BaseIndex, &info.ID); n != 2 || err != nil {
			return s, fmt.Errorf("cannot rebuild the list of log segments: %s is not the name of a segment: move it away", path)
		}
		s.Segments = append(s.Segments, info)
	}
	slices.SortFunc(s.Segments, func(a, b types.SegmentInfo) int { return strings.Compare(order(a), order(b)) })
	kept := s.Segments[:0]
	for _, info := range s.Segments {
		for len(kept) > 0 && kept[len(kept)-1].BaseIndex >= info.BaseIndex {
			kept = kept[:len(kept)-1]
		}
		if n := len(kept); n > 0 {
			cut(&kept[n-1], info.BaseIndex-1)
		}
		if err := fillIn(dir, &info); err != nil {
			return s, err
		}
		kept = append(kept, info)
	}
	s.Segments = kept
	return s, nil
}

func order(i types.SegmentInfo) string { return fmt.Sprintf("%020d", i.ID) }

// fillIn sets the fields of info that are in the segment's file.
func fillIn(dir string, info *types.SegmentInfo) error {
	info.MinIndex, info.Codec, info.CreateTime, info.SizeLimit = info.BaseIndex, wal.CodecBinaryV1, time.Now(), DefaultSegmentSize
	b, err := disk.ReadFile(filepath.Join(dir, segment.FileName(*info)))
	if err != nil {
		return fmt.Errorf("cannot read log segment: %w", err)
	}
	if s := scanSegment(b); s.index > 0 && len(s.entries) > 0 {
		info.SealTime, info.IndexStart, info.MaxIndex = time.Now(), uint64(s.index), s.entries[len(s.entries)-1].index
	}
	return nil
}

func cut(info *types.SegmentInfo, last uint64) {
	if info.SealTime.IsZero() {
		info.SealTime = time.Now() // and has no index: it is rewritten
		info.MaxIndex = last
		return
	}
	info.MaxIndex = min(info.MaxIndex, last)
}
