package raftdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft-wal/types"
)

const (
	segmentsName  = "segments"
	segmentsMagic = "ixs1"
	segmentBytes  = 8*8 + 4
)

// segments is the list of the log's segments: one checked file that is replaced
// whole, and is on disk when CommitState returns.
type segments struct {
	path   string
	files  files
	failed func(what string, err error) // of writing it; the log only logs that
	// rotated is called before the list changes.
	rotated func() error

	mu    sync.Mutex
	state types.PersistentState // what is on disk
}

var _ types.MetaStore = (*segments)(nil)

// Load returns the list as it was checked.
func (s *segments) Load(string) (types.PersistentState, error) { return s.now(), nil }

func (s *segments) now() types.PersistentState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// CommitState replaces the list.
func (s *segments) CommitState(state types.PersistentState) error {
	err := s.rotated()
	if err == nil {
		err = replaceFile(s.files, s.path, encodeSegments(state))
	}
	if err != nil {
		s.failed("write the list of log segments", err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = types.PersistentState{NextSegmentID: state.NextSegmentID, Segments: slices.Clone(state.Segments)}
	return nil
}

// GetStable and SetStable are not used: term and vote have a file of their own.
func (*segments) GetStable([]byte) ([]byte, error) { return nil, errors.ErrUnsupported }
func (*segments) SetStable([]byte, []byte) error   { return errors.ErrUnsupported }
func (*segments) Close() error                     { return nil }

// readSegments reads the list of a directory; the error is ErrDamaged when it
// does not prove itself, or is missing.
func readSegments(dir string) (types.PersistentState, error) {
	path := filepath.Join(dir, segmentsName)
	data, err := ReadFile(path)
	if err != nil {
		return types.PersistentState{}, fmt.Errorf("cannot read the list of log segments: %w", err)
	}
	if data == nil {
		return types.PersistentState{}, fmt.Errorf("the list of log segments, %s, is missing: %w", path, ErrDamaged)
	}
	s, err := decodeSegments(data)
	if err != nil {
		return s, fmt.Errorf("the list of log segments, %s: %w: %w", path, ErrDamaged, err)
	}
	return s, nil
}

func encodeSegments(s types.PersistentState) []byte {
	b := []byte(segmentsMagic)
	b = binary.LittleEndian.AppendUint64(b, s.NextSegmentID)
	for _, i := range s.Segments {
		for _, v := range []uint64{i.ID, i.BaseIndex, i.MinIndex, i.MaxIndex, i.Codec, i.IndexStart, nanos(i.CreateTime), nanos(i.SealTime)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
		b = binary.LittleEndian.AppendUint32(b, i.SizeLimit)
	}
	return appendSum(b)
}

func decodeSegments(b []byte) (types.PersistentState, error) {
	var s types.PersistentState
	body, err := checkSum(b, segmentsMagic)
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
