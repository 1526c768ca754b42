package forward

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// closing is a body that notes that it is closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Read(p []byte) (int, error) {
	if c.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return c.Reader.Read(p)
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestABodyThatWasReadIsClosed(t *testing.T) {
	of := &closing{Reader: strings.NewReader("body")}
	b := &watchedBody{ReadCloser: of}
	if b.wasRead() {
		t.Error("it was read before anything is")
	}
	if n, err := b.Read(make([]byte, 4)); n != 4 || err != nil || !b.wasRead() || of.closed {
		t.Errorf("%d bytes, %v; it was read: %v, it is closed: %v", n, err, b.wasRead(), of.closed)
	}
	if err := b.Close(); err != nil || !of.closed {
		t.Errorf("%v; it is closed: %v", err, of.closed)
	}
}

// A member may have answered before its transport begins to read.
func TestABodyThatIsClosedIsNotReadAnyMore(t *testing.T) {
	of := &closing{Reader: strings.NewReader("body")}
	b := &watchedBody{ReadCloser: of}
	if err := b.Close(); err != nil || of.closed {
		t.Errorf("%v; another member cannot get it: %v", err, of.closed)
	}
	if n, err := b.Read(make([]byte, 4)); n != 0 || err != http.ErrBodyReadAfterClose || b.wasRead() {
		t.Errorf("%d bytes, %v", n, err)
	}
}
