package raftlog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/hashicorp/raft-wal/segment"
)

// The layout of raft-wal's segment files (segment/format.go, version 0): a
// header of 32 bytes, then frames on multiples of 8 bytes, each with a header
// of 8 bytes (type, three zeros, and a length or the CRC-32C of what was
// written since the last commit), then zeros. The index of a sealed segment is
// a frame too: four bytes for the place of each entry.
const (
	fileHeader  = 32
	frameHeader = 8
)

// found is an intact entry, and where it is in its file.
type found struct {
	index, term uint64
	at          int // offset of its frame
	length      int // of the frame's content, with the check
}

func (e found) position() Position { return Position{Term: e.term, Index: e.index} }

// scan is what a segment file holds.
type scan struct {
	entries []found
	// sound: every byte is covered by a commit, and nothing is behind the last one.
	sound bool
	// proved is the number of entries that are covered by commits, before any damage.
	proved int
	// index is the offset of the complete and correct index of entries; 0: the
	// segment is not sealed.
	index int
}

// scanner reads a segment file from its beginning. After damage it looks for the
// next valid frame: each entry has a check of its own.
type scanner struct {
	scan
	b         []byte
	at        int
	since     int // where the last commit ended; -1: there is damage behind it
	committed int // entries that are covered by a commit
	places    []byte
}

func scanSegment(b []byte) scan {
	s := &scanner{b: b, at: min(fileHeader, len(b)), scan: scan{sound: true}}
	for end := written(b); s.at < end && s.at+frameHeader <= len(b); {
		s.frame()
	}
	s.sound = s.sound && s.committed == len(s.entries)
	if s.index > 0 && !s.placesFit() {
		s.index, s.sound = 0, false
	}
	return s.scan
}

// written returns the length of b without the zeros at its end.
func written(b []byte) int {
	for len(b) >= len(zeros) && bytes.Equal(b[len(b)-len(zeros):], zeros[:]) {
		b = b[:len(b)-len(zeros)]
	}
	return len(bytes.TrimRight(b, "\x00"))
}

var zeros [512]byte

func (s *scanner) frame() {
	head := s.b[s.at : s.at+frameHeader]
	n := int(binary.LittleEndian.Uint32(head[4:]))
	end := s.at + frameHeader + (n+7)/8*8
	wellFormed := head[1]|head[2]|head[3] == 0
	switch {
	case wellFormed && head[0] == segment.FrameCommit:
		s.commit(uint32(n))
	case wellFormed && head[0] == segment.FrameEntry && end <= len(s.b) && s.entry(n):
		s.at = end
	case wellFormed && head[0] == segment.FrameIndex && end <= len(s.b) && s.since >= 0:
		s.index, s.places = s.at+frameHeader, s.b[s.at+frameHeader:s.at+frameHeader+n]
		s.at = end
	default:
		s.sound, s.since = false, -1
		s.at += frameHeader
	}
}

func (s *scanner) commit(sum uint32) {
	if s.since < 0 || crc32.Checksum(s.b[s.since:s.at], castagnoli) != sum {
		s.sound = false
	}
	if s.sound {
		s.proved = len(s.entries)
	}
	s.at += frameHeader
	s.since, s.committed = s.at, len(s.entries)
}

func (s *scanner) entry(n int) bool {
	frame := s.b[s.at+frameHeader : s.at+frameHeader+n]
	index, i := binary.Uvarint(frame)
	if i <= 0 {
		return false
	}
	data, ok := Unseal(index, frame)
	if !ok {
		return false
	}
	term, j := binary.Uvarint(data[i:])
	if j <= 0 {
		return false
	}
	s.entries = append(s.entries, found{index: index, term: term, at: s.at, length: n})
	return true
}

func (s *scanner) placesFit() bool {
	var want []byte
	for _, e := range s.entries {
		want = binary.LittleEndian.AppendUint32(want, uint32(e.at))
	}
	return bytes.Equal(s.places, want)
}

// within returns the entries from one index to another.
func (s scan) within(first, last uint64) []found {
	return slices.DeleteFunc(slices.Clone(s.entries), func(e found) bool { return e.index < first || e.index > last })
}
