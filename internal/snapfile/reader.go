package snapfile

import (
	"errors"
	"fmt"
	"io"
	"math"
)

// Reader reads a snapshot, section by section: Next, then Read up to the section's end.
// What it returns has the right checksums; that all of it belongs together is known once
// Next has returned io.EOF.
type Reader struct {
	Header Header

	frames   *frames
	sections int
	chunk    []byte   // of the section, not read yet
	ahead    *Section // its head was read
	err      error    // final; io.EOF after the trailer
}

// Open reads the header.
func Open(r io.Reader) (*Reader, error) {
	f, err := newFrames(r)
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
		return nil, fmt.Errorf("its header: %w", err)
	}
	return &Reader{Header: h, frames: f}, nil
}

// Next skips what is left of a section, and returns the next one. The error is io.EOF if
// the snapshot is complete.
func (r *Reader) Next() (Section, error) {
	for r.ahead == nil && r.err == nil {
		r.advance()
	}
	if r.err != nil {
		return Section{}, r.err
	}
	s := *r.ahead
	r.ahead = nil
	return s, nil
}

// Read reads the content of the section that Next has returned. The error is io.EOF at
// its end.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.chunk) == 0 {
		if r.ahead != nil {
			return 0, io.EOF
		}
		if r.err != nil {
			return 0, r.err
		}
		r.advance()
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// advance reads a frame.
func (r *Reader) advance() {
	r.chunk = nil
	kind, payload, err := r.frames.next()
	switch {
	case err != nil:
		r.err = err
	case kind == frameTrailer:
		r.err = io.EOF
	case kind == frameSection && r.sections < math.MaxUint16:
		s, err := decodeSection(payload)
		if err != nil {
			r.err = fmt.Errorf("the head of a section: %w", err)
			return
		}
		r.sections++
		r.ahead = &s
	case kind == frameChunk && r.sections > 0:
		r.chunk = payload
	default:
		r.err = fmt.Errorf("it has an unexpected part of kind %d", kind)
	}
}

// Bytes returns how many bytes of the snapshot were read.
func (r *Reader) Bytes() int64 { return r.frames.bytes }

// Check reads the rest of a snapshot, and verifies that it is complete and undamaged.
func (r *Reader) Check() error {
	for {
		if _, err := r.Next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
