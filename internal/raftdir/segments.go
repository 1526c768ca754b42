package raftdir

import (
	"errors"
	"slices"
	"sync"

	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// segments is the list of the log's segments: one file with a checksum, replaced
// atomically and on disk when CommitState returns.
type segments struct {
	path   string
	files  disk.Files
	failed func(what string, err error) // called when writing it fails, which the log only logs
	// rotated is called before the list changes.
	rotated func() error

	mu    sync.Mutex
	state types.PersistentState // what is on disk
}

var _ types.MetaStore = (*segments)(nil)

// Load returns the checked list.
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
		err = disk.Replace(s.files, s.path, raftlog.EncodeSegments(state))
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
