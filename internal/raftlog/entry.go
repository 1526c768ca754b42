package raftlog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/hashicorp/raft-wal/types"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkSize is the size of the check behind each entry: the CRC-32C of its index
// and of its encoding by raft-wal, which has index, term, type and data.
const checkSize = 4

func checksum(index uint64, data []byte) uint32 {
	var i [8]byte
	binary.LittleEndian.PutUint64(i[:], index)
	return crc32.Update(crc32.Checksum(i[:], castagnoli), castagnoli, data)
}

// Seal appends the check to an entry.
func Seal(e types.LogEntry) types.LogEntry {
	e.Data = binary.LittleEndian.AppendUint32(e.Data, checksum(e.Index, e.Data))
	return e
}

// Unseal returns an entry without its check; false: it is not an intact entry of
// that index.
func Unseal(index uint64, b []byte) ([]byte, bool) {
	n := len(b) - checkSize
	if n < 0 || checksum(index, b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, false
	}
	return b[:n], true
}
