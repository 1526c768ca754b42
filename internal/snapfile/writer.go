package snapfile

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Writer writes a snapshot: its header, then sections, each followed by its content.
// The first error is final.
type Writer struct {
	w      io.Writer
	sum    uint32 // of everything so far
	frames uint64
	chunk  []byte // of the section, to be written
	buffer []byte
	err    error
}

// NewWriter returns a Writer that has written the header. It does not buffer more than a
// frame.
func NewWriter(w io.Writer, h Header) *Writer {
	f := &Writer{w: w, chunk: make([]byte, 0, chunkBytes)}
	f.write([]byte(magic))
	f.frame(frameHeader, appendHeader(nil, h))
	return f
}

// Begin ends the section before, if there is one, and begins another.
func (f *Writer) Begin(s Section) error {
	f.flush()
	f.frame(frameSection, appendSection(nil, s))
	return f.err
}

// Write appends to the current section.
func (f *Writer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 && f.err == nil {
		k := min(len(p), chunkBytes-len(f.chunk))
		f.chunk = append(f.chunk, p[:k]...)
		p = p[k:]
		if len(f.chunk) == chunkBytes {
			f.flush()
		}
	}
	return n - len(p), f.err
}

// Close ends the last section, and writes the trailer. It does not close what it
// writes to.
func (f *Writer) Close() error {
	f.flush()
	b := binary.AppendUvarint(nil, f.frames)
	f.frame(frameTrailer, binary.BigEndian.AppendUint32(b, f.sum))
	return f.err
}

// flush ends a chunk.
func (f *Writer) flush() {
	if len(f.chunk) > 0 {
		f.frame(frameChunk, f.chunk)
		f.chunk = f.chunk[:0]
	}
}

func (f *Writer) frame(kind byte, payload []byte) {
	b := append(f.buffer[:0], kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	f.buffer = b
	f.frames++
	f.write(b)
}

func (f *Writer) write(b []byte) {
	if f.err == nil {
		f.sum = crc32.Update(f.sum, castagnoli, b)
		_, f.err = f.w.Write(b)
	}
}
