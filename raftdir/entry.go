package raftdir

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/hashicorp/raft-wal/types"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkSize is how many bytes follow each entry: the CRC-32C of its index
// and of all that raft-wal has encoded of it, index, term, type and data.
const checkSize = 4

func checksum(index uint64, data []byte) uint32 {
	var i [8]byte
	binary.LittleEndian.PutUint64(i[:], index)
	return crc32.Update(crc32.Checksum(i[:], castagnoli), castagnoli, data)
}

// seal puts the check behind an entry.
func seal(e types.LogEntry) types.LogEntry {
	e.Data = binary.LittleEndian.AppendUint32(e.Data, checksum(e.Index, e.Data))
	return e
}

// unseal returns an entry without its check, if it is the entry of that index.
func unseal(index uint64, b []byte) ([]byte, bool) {
	n := len(b) - checkSize
	if n < 0 || checksum(index, b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, false
	}
	return b[:n], true
}

// filer puts a check on every entry that is written, and takes it off again
// where one is read.
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
// name, which is the business of the check before it is opened.
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
		entries[i] = seal(entries[i])
	}
	return w.SegmentWriter.Append(entries)
}

func (w writer) GetLog(index uint64) (*types.PooledBuffer, error) {
	return unsealed(w.SegmentWriter, index)
}

func unsealed(r types.SegmentReader, index uint64) (*types.PooledBuffer, error) {
	b, err := r.GetLog(index)
	if err == types.ErrNotFound {
		return nil, err // raft and raft-wal compare
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read log entry %d: %w: %w", index, ErrDamaged, err)
	}
	data, ok := unseal(index, b.Bs)
	if !ok {
		b.Close()
		return nil, fmt.Errorf("cannot read log entry %d: %w: its checksum does not match", index, ErrDamaged)
	}
	b.Bs = data
	return b, nil
}
