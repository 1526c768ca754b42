package admission

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// frame returns a frame of HTTP/2.
func frame(kind, flags, stream byte, payload ...byte) []byte {
	return append([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}, payload...)
}

// The server sends an answer only when the peer has room for it, long after its handler
// has returned.
func TestAnAnswerThatThePeerHasNoRoomForTakesMemory(t *testing.T) {
	b := NewBudget(testBudget)
	server := httptest.NewUnstartedServer(b.Handler(func(string) bool { return false }, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "an answer")
	})))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	noRoom := frame(4, 0, 0, 0, 4, 0, 0, 0, 0)
	get := frame(1, 5, 1, 0x82, 0x86, 0x84, 0x41, 1, 'x')
	if _, err := c.Write(slices.Concat([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), noRoom, get)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	head := make([]byte, 9)
	for head[3] != 1 { // the header of the answer
		if _, err := io.ReadFull(c, head); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, c, int64(head[0])<<16|int64(head[1])<<8|int64(head[2])); err != nil {
			t.Fatal(err)
		}
	}
	if b.Used() == 0 {
		t.Error("it takes none")
	}
	if _, err := c.Write(frame(8, 0, 1, 0, 0, 0, 100)); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); b.Used() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("once it is read it takes %d bytes", b.Used())
		}
	}
}

func TestEachFieldOfALongHeaderTakesMemory(t *testing.T) {
	b := NewBudget(testBudget)
	used := func(fields int) (n int64) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for i := range fields {
			r.Header[string(bytes.Repeat([]byte{'A'}, i+1))] = []string{""}
		}
		b.Handler(func(string) bool { return false }, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			n = b.Used()
		})).ServeHTTP(httptest.NewRecorder(), r)
		return n
	}
	if few, many := used(usualFields), used(usualFields+1000); few != RequestBytes || many != RequestBytes+1000*fieldBytes {
		t.Errorf("a usual one takes %d bytes, one of 1000 more %d", few, many)
	}
}
