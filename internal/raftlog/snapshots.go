package raftlog

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
)

// The names in a snapshot's directory, and the suffix of an unfinished one
// (hashicorp/raft, file_snapshot.go).
const (
	MetaName   = "meta.json"
	StateName  = "state.bin"
	Unfinished = ".tmp"
)

// CheckName is the file with the check of meta.json, which has the snapshot's
// position; raft's own checksum there is only of the state.
const (
	CheckName  = "check"
	checkMagic = "ixc1"
)

// ProvenSnapshots returns the newest intact snapshot, nil if there is none, and the
// names of the damaged ones.
func ProvenSnapshots(dir string) (newest *raft.SnapshotMeta, damaged []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("cannot list snapshots: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || filepath.Ext(e.Name()) == Unfinished {
			continue
		}
		meta := provenSnapshot(filepath.Join(dir, e.Name()))
		switch {
		case meta == nil:
			damaged = append(damaged, e.Name())
		case newest == nil || !PositionOf(newest).Reaches(PositionOf(meta)):
			newest = meta
		}
	}
	return newest, damaged, nil
}

// provenSnapshot returns the metadata of a snapshot; nil: it is damaged. One without
// a check is of a process that ended at that moment, before its log was compacted.
func provenSnapshot(dir string) *raft.SnapshotMeta {
	var meta struct {
		raft.SnapshotMeta
		CRC []byte
	}
	text, err := disk.ReadFile(filepath.Join(dir, MetaName))
	if err != nil || json.Unmarshal(text, &meta) != nil {
		return nil
	}
	if check, err := disk.ReadFile(filepath.Join(dir, CheckName)); err != nil || check != nil && !bytes.Equal(check, ProofOf(text)) {
		return nil
	}
	state := filepath.Join(dir, StateName)
	if disk.MustBeRegular(state) != nil {
		return nil
	}
	file, err := os.Open(state)
	if err != nil {
		return nil
	}
	defer file.Close()
	sum := crc64.New(crc64.MakeTable(crc64.ECMA))
	if _, err := io.Copy(sum, file); err != nil || !bytes.Equal(sum.Sum(nil), meta.CRC) {
		return nil
	}
	return &meta.SnapshotMeta
}

// PositionOf returns the position at which a snapshot ends; zero for nil.
func PositionOf(m *raft.SnapshotMeta) Position {
	if m == nil {
		return Position{}
	}
	return Position{Term: m.Term, Index: m.Index}
}

// ProofOf returns the content of a snapshot's check.
func ProofOf(meta []byte) []byte {
	return binary.LittleEndian.AppendUint32([]byte(checkMagic), crc32.Checksum(meta, castagnoli))
}
