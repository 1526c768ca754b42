package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/interrex/interrex"
)

// header describes a snapshot.
type header struct {
	ClusterID string // empty: the cluster had none yet
	Epoch     interrex.Epoch
	Index     uint64 // log index of the last entry in it
	Term      uint64
	Revision  interrex.Revision
	Floor     interrex.Revision // no feed goes back further
	Time      Time
}

// section is one table's part of a snapshot.
type section struct {
	Table   TableID
	Name    string
	Version uint16
	Bytes   int64
}

// snapshotReader is a snapshot whose header has been read.
type snapshotReader struct {
	frames *frameReader
	header header
}

func openSnapshot(r io.Reader) (*snapshotReader, error) {
	f, err := newFrameReader(r)
	if err != nil {
		return nil, err
	}
	kind, payload, err := f.next()
	if err != nil {
		return nil, err
	}
	if kind != frameHeader {
		return nil, errors.New("it does not begin with its header")
	}
	h, err := decodeHeader(payload)
	if err != nil {
		return nil, fmt.Errorf("its header is malformed: %w", err)
	}
	return &snapshotReader{frames: f, header: h}, nil
}

// read calls section for each section, and chunk for each part of its content, up to
// the trailer. The argument of chunk is valid until it returns.
func (s *snapshotReader) read(section func(section), chunk func([]byte)) error {
	const limit = math.MaxUint16
	for n := 0; ; {
		kind, payload, err := s.frames.next()
		switch {
		case err != nil:
			return err
		case kind == frameTrailer:
			return nil
		case kind == frameSection && n < limit:
			sec, err := decodeSection(payload)
			if err != nil {
				return fmt.Errorf("the head of a section is malformed: %w", err)
			}
			section(sec)
			n++
		case kind == frameChunk && n > 0:
			chunk(payload)
		default:
			return fmt.Errorf("it has an unexpected part of kind %d", kind)
		}
	}
}

func appendHeader(b []byte, h header) []byte {
	b = appendBytes(b, h.ClusterID)
	b = binary.AppendUvarint(b, h.Epoch.Number)
	b = binary.AppendUvarint(b, h.Epoch.Bits)
	b = binary.AppendUvarint(b, h.Index)
	b = binary.AppendUvarint(b, h.Term)
	b = binary.AppendUvarint(b, uint64(h.Revision))
	b = binary.AppendUvarint(b, uint64(h.Floor))
	return binary.AppendVarint(b, int64(h.Time))
}

func decodeHeader(b []byte) (header, error) {
	d := decoder{b: b}
	h := header{ClusterID: strings.Clone(d.text())}
	h.Epoch.Number = d.uvarint()
	h.Epoch.Bits = d.uvarint()
	h.Index = d.uvarint()
	h.Term = d.uvarint()
	h.Revision = interrex.Revision(d.uvarint())
	h.Floor = interrex.Revision(d.uvarint())
	h.Time = Time(d.varint())
	return h, d.end()
}

func appendSection(b []byte, s section) []byte {
	b = binary.AppendUvarint(b, uint64(s.Table))
	b = binary.AppendUvarint(b, uint64(s.Version))
	return appendBytes(b, s.Name)
}

func decodeSection(b []byte) (section, error) {
	d := decoder{b: b}
	s := section{Table: TableID(d.small(math.MaxUint16)), Version: uint16(d.small(math.MaxUint16))}
	s.Name = strings.Clone(d.text())
	return s, d.end()
}
