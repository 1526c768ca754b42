package admission

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/interrex/interrex/internal/wire"
)

// meter takes memory for a body as it arrives. A body that is too large for what is left
// is refused; a stream waits before it reads on.
type meter struct {
	io.ReadCloser
	ctx     context.Context
	account *Account
	cost    int  // bytes of memory that one of the body takes
	stream  bool // of messages, each with a prefix, of which one is in memory at a time
	packed  bool // what is read may be compressed

	prefix [5]byte // of the message: a byte of flags, and its length
	filled int     // bytes of the prefix that were read
	left   int     // bytes of the message that were not
	read   int     // bytes of the message, or of the body, that were
	taken  int
}

func newMeter(r *http.Request, a *Account) *meter {
	m := &meter{ReadCloser: r.Body, ctx: r.Context(), account: a, cost: bodyCost}
	if strings.Contains(r.Header.Get("Content-Type"), "json") {
		m.cost = jsonCost
	}
	m.stream, _ = streams(r)
	for _, name := range []string{"Content-Encoding", "Connect-Content-Encoding", "Grpc-Encoding"} {
		if value := r.Header.Get(name); value != "" && value != "identity" {
			m.packed = !m.stream // a message of a stream says so itself
		}
	}
	return m
}

// Read implements io.Reader. The error is of kind ErrOverloaded if there is no memory.
func (m *meter) Read(p []byte) (int, error) {
	if m.stream && m.filled == len(m.prefix) && m.left == 0 { // the last message was decoded
		m.account.Give(m.taken)
		m.taken, m.read, m.filled = 0, 0, 0
	}
	n, err := m.ReadCloser.Read(p)
	if m.stream {
		m.follow(p[:n])
	} else {
		m.read += n
	}
	if failed := m.cover(); failed != nil {
		return 0, errors.Join(failed, wire.Error(failed)) // for plain HTTP, and for RPCs
	}
	return n, err
}

// follow notes where in a message the stream is.
func (m *meter) follow(b []byte) {
	for len(b) > 0 {
		if m.filled == len(m.prefix) && m.left == 0 {
			m.filled = 0 // more than one message was read at once: they are counted together
		}
		if m.filled < len(m.prefix) {
			n := copy(m.prefix[m.filled:], b)
			m.filled, b = m.filled+n, b[n:]
			if m.filled == len(m.prefix) {
				m.left = int(binary.BigEndian.Uint32(m.prefix[1:]))
				m.packed = m.prefix[0]&1 != 0
			}
			continue
		}
		n := min(m.left, len(b))
		m.left, m.read, b = m.left-n, m.read+n, b[n:]
	}
}

const (
	// bodyCost and jsonCost are how many bytes of memory one of a body takes: the buffer,
	// which doubles when it is full, and what is decoded from it; see wire.CheckJSON.
	bodyCost = 6
	jsonCost = 12
	// deflated is how many bytes one of a compressed body can become.
	deflated = 1032
	// smallMessage is the size of a message of a stream up to which it is urgent, because
	// extends may be in it.
	smallMessage = 64 << 10
)

// cover takes what the bytes that were read may need.
func (m *meter) cover() error {
	size := m.read
	if m.packed {
		size *= deflated
	}
	size = min(size, wire.MaxMessage)
	need := m.cost*size - RequestBytes/2
	if need <= m.taken {
		return nil
	}
	share := Large
	switch {
	case m.stream && size <= smallMessage:
		share = Urgent
	case need <= SmallBytes:
		share = Urgent
	}
	var err error
	if m.stream {
		err = m.account.Wait(m.ctx, need-m.taken, share)
	} else {
		err = m.account.Take(need-m.taken, share)
	}
	if err == nil {
		m.taken = need
	}
	return err
}
