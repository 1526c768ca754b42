package snapfile

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/interrex/interrex"
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
	ended    bool     // the trailer was read
	err      error    // final; io.EOF after a right trailer
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
		if r.ahead != nil || r.ended {
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
	case kind == frameTrailer:
		r.ended, r.err = true, cmp.Or(err, io.EOF)
	case err != nil:
		r.err = err
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

// Snapshot says what a snapshot shows that was read as a whole.
func (r *Reader) Snapshot() interrex.Snapshot {
	h := r.Header
	return interrex.Snapshot{
		ClusterID: h.ClusterID, Epoch: h.Epoch.Number, LogIndex: h.Index, Term: h.Term,
		Revision: h.Revision, ClusterTime: time.Duration(h.Time), Bytes: r.frames.bytes,
	}
}

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
