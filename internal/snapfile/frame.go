package snapfile

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
	frameHead     = 5
	frameOverhead = frameHead + 4
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

// frames reads what Writer has written, frame by frame.
type frames struct {
	r      *bufio.Reader
	sum    uint32
	count  uint64
	bytes  int64 // of everything so far
	buffer []byte
}

func newFrames(r io.Reader) (*frames, error) {
	f := &frames{r: bufio.NewReaderSize(r, chunkBytes+frameOverhead)}
	b, err := f.read(len(magic))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(b[:len(b)-1], []byte(magic[:len(magic)-1])) {
		return nil, errors.New("it is not a snapshot of interrex")
	}
	if b[len(b)-1] != magic[len(magic)-1] {
		return nil, fmt.Errorf("unknown format version %d, this build reads version %d: use the interrex that wrote it, or a newer one", b[len(b)-1], magic[len(magic)-1])
	}
	f.take(b)
	return f, nil
}

// read returns the next n bytes, which are valid until the next read.
func (f *frames) read(n int) ([]byte, error) {
	if cap(f.buffer) < n {
		f.buffer = make([]byte, n, max(n, chunkBytes+frameOverhead))
	}
	f.buffer = f.buffer[:n]
	got, err := io.ReadFull(f.r, f.buffer)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, f.short(got)
	}
	return f.buffer, err
}

// take counts bytes that were read.
func (f *frames) take(b []byte) {
	f.sum = crc32.Update(f.sum, castagnoli, b)
	f.bytes += int64(len(b))
}

// next returns the next frame, whose payload is valid until the next call.
func (f *frames) next() (kind byte, payload []byte, err error) {
	b, err := f.r.Peek(frameHead)
	if err == io.EOF {
		err = f.short(len(b))
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
	body, check := b[:frameHead+n], b[frameHead+n:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(check) {
		return 0, nil, f.damaged()
	}
	kind, payload = body[0], body[frameHead:]
	if kind == frameTrailer {
		return kind, payload, f.finish(len(b), payload)
	}
	f.take(b)
	f.count++
	return kind, payload, nil
}

func (f *frames) short(got int) error {
	return fmt.Errorf("it is cut short, after byte %d", f.bytes+int64(got))
}

func (f *frames) damaged() error {
	return fmt.Errorf("it is damaged: the checksum of part %d, which begins at byte %d, is wrong", f.count, f.bytes)
}

// finish compares the trailer with what was read, and checks that nothing follows.
func (f *frames) finish(size int, payload []byte) error {
	count, n := binary.Uvarint(payload)
	if n <= 0 || len(payload) != n+4 || count != f.count || binary.BigEndian.Uint32(payload[n:]) != f.sum {
		return errors.New("it is damaged: its parts do not belong together")
	}
	f.bytes += int64(size)
	switch _, err := f.r.ReadByte(); err {
	case io.EOF:
		return nil
	case nil:
		return fmt.Errorf("it is damaged: there are bytes after its end at byte %d", f.bytes)
	default:
		return err
	}
}
