// Package pipe owns connections within a process: pairs of net.Conn with a
// buffer in each direction, and a listener for them. They use no file
// descriptor, and wait on channels only, so they can be used in a bubble of
// testing/synctest.
package pipe

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// buffer is the number of bytes that a direction holds before its writer waits.
const buffer = 64 << 10

// New returns both ends of a connection. What one end wrote before it was closed
// can still be read at the other.
func New() (here, there net.Conn) {
	a, b := newStream(), newStream()
	return &conn{in: a, out: b, readBy: newDeadline(), writeBy: newDeadline()},
		&conn{in: b, out: a, readBy: newDeadline(), writeBy: newDeadline()}
}

// conn is one end.
type conn struct {
	in, out         *stream
	readBy, writeBy *deadline
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) { return c.in.read(b, c.readBy) }

// Write implements net.Conn.
func (c *conn) Write(b []byte) (int, error) { return c.out.write(b, c.writeBy) }

// Close implements net.Conn. The other end reads what was written, and then io.EOF.
func (c *conn) Close() error {
	c.in.abandon()
	c.out.finish()
	return nil
}

// LocalAddr implements net.Conn.
func (*conn) LocalAddr() net.Addr { return addr{} }

// RemoteAddr implements net.Conn.
func (*conn) RemoteAddr() net.Addr { return addr{} }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.readBy.set(t)
	c.writeBy.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { c.readBy.set(t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { c.writeBy.set(t); return nil }

type addr struct{}

func (addr) Network() string { return "pipe" }
func (addr) String() string  { return "in process" }

// stream is one direction.
type stream struct {
	mu       sync.Mutex
	data     []byte
	changed  chan struct{} // closed at each change that a goroutine may wait for
	finished bool          // the writer has closed its end
	gone     bool          // the reader has closed its end
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// change wakes the waiters. mu is held.
func (s *stream) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
	s.change()
}

func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, s.data = true, nil
	s.change()
}

func (s *stream) read(b []byte, by *deadline) (int, error) {
	for {
		passed := by.passed()
		n, wait, err := s.take(b, passed)
		if wait == nil {
			return n, err
		}
		select {
		case <-wait:
		case <-passed:
		}
	}
}

// take reads what is buffered; if that is nothing, wait is closed at a change.
func (s *stream) take(b []byte, passed <-chan struct{}) (n int, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone:
		return 0, nil, io.ErrClosedPipe
	case isClosed(passed):
		return 0, nil, os.ErrDeadlineExceeded
	case len(b) == 0:
		return 0, nil, nil
	case len(s.data) > 0:
		n = copy(b, s.data)
		s.data = append(s.data[:0], s.data[n:]...)
		s.change()
		return n, nil, nil
	case s.finished:
		return 0, nil, io.EOF
	}
	return 0, s.changed, nil
}

func (s *stream) write(b []byte, by *deadline) (n int, err error) {
	for {
		passed := by.passed()
		put, wait, err := s.put(b[n:], passed)
		n += put
		if err != nil || n == len(b) {
			return n, err
		}
		select {
		case <-wait:
		case <-passed:
		}
	}
}

// put writes as much as there is room for; wait is closed at the next change.
func (s *stream) put(b []byte, passed <-chan struct{}) (n int, wait <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.finished, s.gone:
		return 0, nil, io.ErrClosedPipe
	case isClosed(passed):
		return 0, nil, os.ErrDeadlineExceeded
	}
	if n = min(len(b), buffer-len(s.data)); n > 0 {
		s.data = append(s.data, b[:n]...)
		s.change()
	}
	return n, s.changed, nil
}

// deadline is a time that can be moved while goroutines wait for it.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer   // nil: there is none
	over  chan struct{} // closed when it has passed
}

func newDeadline() *deadline { return &deadline{over: make(chan struct{})} }

// passed returns a channel that is closed when the deadline has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

// set moves the deadline; the zero time removes it.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if isClosed(d.over) {
		d.over = make(chan struct{})
	}
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		close(d.over)
		return
	}
	var mine *time.Timer
	mine = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == mine { // it was not moved meanwhile
			close(d.over)
			d.timer = nil
		}
	})
	d.timer = mine
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
