package featuretests

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A peer that resets what it requests is read slowly: its pings are answered late.
func TestAPeerThatResetsItsRequestsIsReadSlowly(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1, nil)
	conn, err := net.Dial("tcp", f.members[0].config.API.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	frames := http2.NewFramer(conn, conn)
	if err := frames.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var head bytes.Buffer
	encoder := hpack.NewEncoder(&head)
	for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "localhost"}, {":path", "/kv/none"}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			t.Fatal(err)
		}
	}
	block := head.Bytes()
	id := uint32(1)
	var took time.Duration
	const slow = 400 * 17 / 128 * 5 * time.Millisecond // 400 pings of 17 bytes, in slow reads
	for range 3 {                                      // without the requests, the frames of so many resets are not enough
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for range 1500 {
			if err := frames.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true}); err != nil {
				t.Fatal(err)
			}
			if err := frames.WriteRSTStream(id, http2.ErrCodeCancel); err != nil {
				t.Fatal(err)
			}
			id += 2
		}
		pinged(t, conn, frames, 1) // what was sent before is read
		began := time.Now()
		pinged(t, conn, frames, 400)
		if took = time.Since(began); took >= slow {
			return
		}
	}
	t.Errorf("400 pings are answered within %s", took)
}

// pinged sends pings all at once, and waits for their answers.
func pinged(t *testing.T, to io.Writer, frames *http2.Framer, pings int) {
	t.Helper()
	var all bytes.Buffer
	write := http2.NewFramer(&all, nil)
	for range pings {
		if err := write.WritePing(false, [8]byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := to.Write(all.Bytes()); err != nil {
		t.Fatal(err)
	}
	for pings > 0 {
		frame, err := frames.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if ping, is := frame.(*http2.PingFrame); is && ping.IsAck() {
			pings--
		}
	}
}
