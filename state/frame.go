package state

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A snapshot is the magic, then frames: a kind, the length of the payload (4
// bytes, big endian), the payload, and CRC32C over all of these (4 bytes). The
// last frame has the number of frames before it and the CRC32C of every byte
// before it.
const (
	magic         = "interrex\x01" // the last byte is the format's version
	frameOverhead = 9
	chunkBytes    = 64 << 10
)

// The kinds of frame.
const (
	frameHeader  = 1
	frameSection = 2
	frameChunk   = 3
	frameTrailer = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frameWriter writes frames. As an io.Writer it makes chunks of its input. The first
// error is final.
type frameWriter struct {
	w      io.Writer
	sum    uint32 // of everything so far
	frames uint64
	chunk  []byte // to be written
	buffer []byte
	err    error
}

func newFrameWriter(w io.Writer) *frameWriter {
	f := &frameWriter{w: w, chunk: make([]byte, 0, chunkBytes)}
	f.write([]byte(magic))
	return f
}

func (f *frameWriter) write(b []byte) {
	if f.err == nil {
		f.sum = crc32.Update(f.sum, castagnoli, b)
		_, f.err = f.w.Write(b)
	}
}

func (f *frameWriter) frame(kind byte, payload []byte) {
	b := append(f.buffer[:0], kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	f.buffer = b
	f.frames++
	f.write(b)
}

// Write appends to the current section.
func (f *frameWriter) Write(p []byte) (int, error) {
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

// flush ends a chunk.
func (f *frameWriter) flush() {
	if len(f.chunk) > 0 {
		f.frame(frameChunk, f.chunk)
		f.chunk = f.chunk[:0]
	}
}

// close writes the trailer.
func (f *frameWriter) close() error {
	b := binary.AppendUvarint(nil, f.frames)
	f.frame(frameTrailer, binary.BigEndian.AppendUint32(b, f.sum))
	return f.err
}

// frameReader reads what frameWriter has written.
type frameReader struct {
	r      *bufio.Reader
	sum    uint32
	frames uint64
	buffer []byte
}

func newFrameReader(r io.Reader) (*frameReader, error) {
	f := &frameReader{r: bufio.NewReaderSize(r, chunkBytes+frameOverhead)}
	b, err := f.read(len(magic))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b[:len(b)-1], []byte(magic[:len(magic)-1])) {
		return nil, errors.New("it is not a snapshot of interrex")
	}
	if b[len(b)-1] != magic[len(magic)-1] {
		return nil, fmt.Errorf("unknown format version %d, this build reads version %d", b[len(b)-1], magic[len(magic)-1])
	}
	f.sum = crc32.Checksum(b, castagnoli)
	return f, nil
}

// read returns the next n bytes, which are valid until the next read.
func (f *frameReader) read(n int) ([]byte, error) {
	if cap(f.buffer) < n {
		f.buffer = make([]byte, n, max(n, chunkBytes+frameOverhead))
	}
	f.buffer = f.buffer[:n]
	_, err := io.ReadFull(f.r, f.buffer)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, errors.New("it is cut short")
	}
	return f.buffer, err
}

// next returns the next frame, whose payload is valid until the next call.
func (f *frameReader) next() (kind byte, payload []byte, err error) {
	const head = 5
	b, err := f.r.Peek(head)
	if err == io.EOF {
		err = errors.New("it is cut short")
	}
	if err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(b[1:])
	if n > chunkBytes {
		return 0, nil, f.damaged()
	}
	if b, err = f.read(int(n) + frameOverhead); err != nil {
		return 0, nil, err
	}
	body, check := b[:head+n], b[head+n:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(check) {
		return 0, nil, f.damaged()
	}
	kind, payload = body[0], body[head:]
	if kind == frameTrailer {
		return kind, payload, f.finish(payload)
	}
	f.sum = crc32.Update(f.sum, castagnoli, b)
	f.frames++
	return kind, payload, nil
}

func (f *frameReader) damaged() error {
	return fmt.Errorf("it is damaged: the checksum of part %d is wrong", f.frames)
}

// finish compares the trailer with what was read, and checks that nothing follows.
func (f *frameReader) finish(payload []byte) error {
	frames, n := binary.Uvarint(payload)
	if n <= 0 || len(payload) != n+4 || frames != f.frames || binary.BigEndian.Uint32(payload[n:]) != f.sum {
		return errors.New("it is damaged: its parts do not belong together")
	}
	switch _, err := f.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return errors.New("it is damaged: there are bytes after its end")
	default:
		return err
	}
}
