package callstream

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// pieces returns one piece at each Read, as a pipe does.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	for len(*p) > 0 && len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	(*p)[0] = (*p)[0][n:]
	return n, nil
}

func message(content string) (prefix, body []byte) {
	return []byte{0, 0, 0, byte(len(content) >> 8), byte(len(content))}, []byte(content)
}

func TestMessagesLeaveWhole(t *testing.T) {
	long := strings.Repeat("long", 100)
	var in pieces
	for _, content := range []string{"first", "", long} {
		prefix, body := message(content)
		in = append(in, prefix, body)
	}
	j := &joined{ReadCloser: io.NopCloser(&in)}
	buffer := make([]byte, 256)
	for _, want := range []int{5 + len("first"), 5, 256, 5 + len(long) - 256} {
		if n, err := j.Read(buffer); n != want || err != nil {
			t.Fatalf("read %d, %v, want %d", n, err, want)
		}
	}
	if n, err := j.Read(buffer); n != 0 || err != io.EOF {
		t.Fatalf("read %d, %v behind the end", n, err)
	}
}

func TestJoinedMessagesAreTheSameBytes(t *testing.T) {
	prefix, body := message("content")
	all := bytes.Join([][]byte{prefix, body, prefix, body}, nil)
	for size := 1; size < len(all); size++ { // of pieces, and of what they are read into
		var in pieces
		for rest := bytes.Clone(all); len(rest) > 0; rest = rest[min(size, len(rest)):] {
			in = append(in, rest[:min(size, len(rest))])
		}
		var out []byte
		j, buffer := &joined{ReadCloser: io.NopCloser(&in)}, make([]byte, size)
		for {
			n, err := j.Read(buffer)
			out = append(out, buffer[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(out, all) {
			t.Fatalf("by %d: %q, want %q", size, out, all)
		}
	}
}
