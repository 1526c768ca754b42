package raftdir

import (
	"fmt"

	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// filer appends a checksum to every entry that is written, and verifies and removes
// it when one is read.
type filer struct {
	types.SegmentFiler
}

func (f filer) Create(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := f.SegmentFiler.Create(info)
	return sealing(w), err
}

func (f filer) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := f.SegmentFiler.RecoverTail(info)
	return sealing(w), err
}

func (f filer) Open(info types.SegmentInfo) (types.SegmentReader, error) {
	r, err := f.SegmentFiler.Open(info)
	if err != nil {
		return nil, err
	}
	return reader{r}, nil
}

// List returns nothing: the log would delete every segment that its list does not
// name, which is left to the check before it is opened.
func (filer) List() (map[uint64]uint64, error) { return nil, nil }

type reader struct {
	types.SegmentReader
}

func (r reader) GetLog(index uint64) (*types.PooledBuffer, error) {
	return unsealed(r.SegmentReader, index)
}

type writer struct {
	types.SegmentWriter
}

func sealing(w types.SegmentWriter) types.SegmentWriter {
	if w == nil {
		return nil
	}
	return writer{w}
}

func (w writer) Append(entries []types.LogEntry) error {
	for i := range entries {
		entries[i] = raftlog.Seal(entries[i])
	}
	return w.SegmentWriter.Append(entries)
}

func (w writer) GetLog(index uint64) (*types.PooledBuffer, error) {
	return unsealed(w.SegmentWriter, index)
}

func unsealed(r types.SegmentReader, index uint64) (*types.PooledBuffer, error) {
	b, err := r.GetLog(index)
	if err == types.ErrNotFound {
		return nil, err // raft and raft-wal compare it with ==
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read log entry %d: %w: %w", index, disk.ErrDamaged, err)
	}
	data, ok := raftlog.Unseal(index, b.Bs)
	if !ok {
		b.Close()
		return nil, fmt.Errorf("cannot read log entry %d: %w: its checksum does not match", index, disk.ErrDamaged)
	}
	b.Bs = data
	return b, nil
}
