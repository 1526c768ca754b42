package callstream

import (
	"encoding/binary"
	"io"
	"net/http"

	"connectrpc.com/connect"
)

// joining is an HTTP client that writes each message of a request at once. Connect
// writes a message's prefix and its content one after the other, and HTTP/2 sends
// each by itself: two packets, and two wakeups of the agent.
type joining struct{ connect.HTTPClient }

// Join returns h, writing each message of a request at once.
func Join(h connect.HTTPClient) connect.HTTPClient { return joining{h} }

// Do implements connect.HTTPClient.
func (h joining) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = &joined{ReadCloser: r.Body}
	}
	return h.HTTPClient.Do(r)
}

// prefixBytes is the size of a message's prefix: flags, and the content's length in 4
// bytes, big endian.
const prefixBytes = 5

// joined reads a stream of messages, whole messages if they fit.
type joined struct {
	io.ReadCloser
	prefix [prefixBytes]byte
	had    int // bytes of an incomplete prefix
	left   int // bytes of content that are missing
}

// Read returns at the end of a message, or when p is full.
func (j *joined) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = j.ReadCloser.Read(p[n:])
		j.pass(p[n : n+k])
		n += k
		if j.had == 0 && j.left == 0 {
			break
		}
	}
	return n, err
}

// pass records the reader's position in a message.
func (j *joined) pass(b []byte) {
	for len(b) > 0 {
		if k := min(j.left, len(b)); k > 0 {
			j.left -= k
			b = b[k:]
			continue
		}
		k := copy(j.prefix[j.had:], b)
		b = b[k:]
		if j.had += k; j.had == prefixBytes {
			j.had, j.left = 0, int(binary.BigEndian.Uint32(j.prefix[1:]))
		}
	}
}
