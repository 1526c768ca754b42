package raftdir

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
)

// The keys under which raft stores its term and its vote. They are unexported in
// hashicorp/raft v1.8.0; a test fails if raft uses another.
const (
	keyCurrentTerm  = "CurrentTerm"
	keyLastVoteTerm = "LastVoteTerm"
	keyLastVoteCand = "LastVoteCand"
)

const (
	voteName    = "vote"
	voteMagic   = "ixv1"
	maxVoteCand = 1 << 10 // a candidate is an agent's ID, 63 bytes
)

// vote is what raft must not forget: term and vote in one record.
type vote struct {
	currentTerm uint64
	voteTerm    uint64
	candidate   []byte // nil: never voted
}

// stableStore is a raft.StableStore of exactly raft's term and vote. raft sets
// the vote's term and its candidate one after the other; a crash in between would
// leave an old candidate with a new term, a vote that was never cast
// (hashicorp/raft#661). Here the term waits for the candidate, and all three are in
// one file, replaced atomically and on disk when Set returns.
type stableStore struct {
	disk  *disk.Disk
	files disk.Files
	path  string
	term  atomic.Uint64 // the current term, as it is on disk

	mu      sync.Mutex
	saved   vote
	pending uint64 // the term of a vote whose candidate has not been set yet; 0: none
}

var _ raft.StableStore = (*stableStore)(nil)

func openStable(dir string, d *disk.Disk, f disk.Files) (*stableStore, error) {
	s := &stableStore{disk: d, files: f, path: filepath.Join(dir, voteName)}
	var err error
	if s.saved, err = readVote(s.path); err != nil {
		return nil, err
	}
	s.term.Store(s.saved.currentTerm)
	return s, nil
}

func readVote(path string) (vote, error) {
	data, err := disk.ReadFile(path)
	if err != nil {
		return vote{}, fmt.Errorf("cannot read term and vote: %w", err)
	}
	if data == nil {
		return vote{}, fmt.Errorf("cannot read term and vote: %w: %s is missing", ErrForgotten, path)
	}
	v, err := decodeVote(data)
	if err != nil {
		return vote{}, fmt.Errorf("cannot read term and vote in %s: %w: %w", path, ErrForgotten, err)
	}
	return v, nil
}

// Set stores raft's candidate, together with the vote's term that was set before.
func (s *stableStore) Set(key, value []byte) error {
	if string(key) != keyLastVoteCand {
		return fmt.Errorf("cannot save %q: only raft's term and its vote are stored here", key)
	}
	if len(value) > maxVoteCand {
		return fmt.Errorf("cannot save a vote: a candidate of %d bytes is longer than %d", len(value), maxVoteCand)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.saved
	next.candidate = bytes.Clone(value)
	if s.pending != 0 {
		next.voteTerm, s.pending = s.pending, 0
	}
	return s.save(next)
}

// SetUint64 stores the current term, or holds the vote's term back until Set.
//
// raft panics when its term cannot be saved, which would end the process. So it does
// not get that error: the failure ends the worker, which cuts raft off from other
// agents before it lets this call return.
func (s *stableStore) SetUint64(key []byte, value uint64) error {
	s.mu.Lock()
	switch string(key) {
	case keyLastVoteTerm:
		s.pending = value
		s.mu.Unlock()
		return nil
	case keyCurrentTerm:
		next := s.saved
		next.currentTerm = value
		err := s.save(next)
		s.mu.Unlock()
		if err != nil {
			<-s.disk.Released()
		}
		return nil
	}
	s.mu.Unlock()
	return fmt.Errorf("cannot save %q: only raft's term and its vote are stored here", key)
}

// Get returns the candidate of the last vote; nil: there was none.
func (s *stableStore) Get(key []byte) ([]byte, error) {
	if string(key) != keyLastVoteCand {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.saved.candidate), nil
}

// GetUint64 returns the current term or the term of the last vote; 0: there was
// none.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch string(key) {
	case keyCurrentTerm:
		return s.saved.currentTerm, nil
	case keyLastVoteTerm:
		return s.saved.voteTerm, nil
	}
	return 0, nil
}

func (s *stableStore) save(next vote) error {
	if next.equal(s.saved) {
		return nil
	}
	data := encodeVote(next)
	err := s.disk.Write("save term and vote", func() error { return disk.Replace(s.files, s.path, data) })
	if err != nil {
		return err
	}
	s.saved = next
	s.term.Store(next.currentTerm)
	return nil
}

func (v vote) equal(o vote) bool {
	return v.currentTerm == o.currentTerm && v.voteTerm == o.voteTerm && bytes.Equal(v.candidate, o.candidate)
}

func encodeVote(v vote) []byte {
	b := []byte(voteMagic)
	b = binary.LittleEndian.AppendUint64(b, v.currentTerm)
	b = binary.LittleEndian.AppendUint64(b, v.voteTerm)
	return disk.AppendSum(append(b, v.candidate...))
}

func decodeVote(b []byte) (vote, error) {
	body, err := disk.CheckSum(b, voteMagic)
	if err == nil && len(body) < 16 {
		err = errors.New("it is too short")
	}
	if err != nil {
		return vote{}, err
	}
	v := vote{
		currentTerm: binary.LittleEndian.Uint64(body),
		voteTerm:    binary.LittleEndian.Uint64(body[8:]),
	}
	if c := body[16:]; len(c) > 0 {
		v.candidate = bytes.Clone(c)
	}
	return v, nil
}
