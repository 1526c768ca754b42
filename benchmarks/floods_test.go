package benchmarks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/interrex/interrex/internal/joining"
)

// connect opens a connection from one of this machine's loopback addresses, which is
// closed when ctx ends.
func (t *target) connect(ctx context.Context, from byte) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, from)}}
	c, err := d.DialContext(ctx, "tcp", t.API)
	if err != nil {
		pause(ctx, 100*time.Millisecond) // it is refused for now
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, nil
}

// slowRequests are connections that are idle, send a header or a body a byte at a time,
// or do not read their answer.
func slowRequests(ctx context.Context, t *target) error {
	forms := []string{
		"",
		"POST /interrex.v1.LeaseService/Claim HTTP/1.1\r\nHost: localhost\r\nX: ",
		"POST /interrex.v1.LeaseService/Claim HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{",
		strings.Repeat("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 500),
	}
	opened(ctx, 2000, opening, func(i int) { t.slowly(ctx, forms[i%len(forms)]) })
	return nil
}

func (t *target) slowly(ctx context.Context, first string) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	c, err := t.connect(ctx, 1)
	if err == nil {
		t.made.Add(1)
		_, err = io.WriteString(c, first)
	}
	for err == nil && ctx.Err() == nil {
		pause(ctx, time.Second) // slow is the attack
		if first != "" {
			_, err = io.WriteString(c, "x")
		}
	}
}

// idleConnections are 10 000 connections, of three addresses, that send nothing.
func idleConnections(ctx context.Context, t *target) error {
	opened(ctx, 10_000, opening, func(i int) {
		ctx, end := context.WithCancel(ctx)
		defer end()
		c, err := t.connect(ctx, byte(2+i%3))
		if err != nil {
			return
		}
		t.made.Add(1)
		_, _ = c.Read(make([]byte, 1)) // until the agent closes it
		pause(ctx, time.Second)
	})
	return nil
}

// refusedJoins asks to be let into the cluster with tokens that do not exist.
func refusedJoins(ctx context.Context, t *target) error {
	paced(ctx, 32, 200, func(int) {
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{joining.Protocol}}}
		c, err := d.DialContext(ctx, "tcp", t.Cluster)
		t.made.Add(1)
		if err != nil {
			return
		}
		defer c.Close()
		body := `{"id":"n9","token":"0123456789abcdef","csr":"AAAA","signature":"AAAA"}`
		fmt.Fprintf(c, "POST /join HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		_, _ = c.Read(make([]byte, 1))
	})
	return nil
}

// frames opens HTTP/2 connections, again and again, and sends frames on each.
func frames(ctx context.Context, t *target, connections int, send func(ctx context.Context, f *http2.Framer) error) error {
	each(ctx, connections, func(int) {
		ctx, end := context.WithCancel(ctx)
		defer end()
		c, err := t.connect(ctx, 1)
		if err != nil {
			return
		}
		f := http2.NewFramer(c, c)
		go func() { // what is received is dropped
			for err := error(nil); err == nil; {
				_, err = f.ReadFrame()
			}
			end()
		}()
		if _, err := io.WriteString(c, http2.ClientPreface); err == nil && f.WriteSettings() == nil {
			_ = send(ctx, f) // until the agent ends it
		}
	})
	return nil
}

// head returns the headers of a request, encoded.
func head(more ...hpack.HeaderField) []byte {
	var head bytes.Buffer
	h := hpack.NewEncoder(&head)
	for _, field := range append([]hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "localhost"},
		{Name: ":path", Value: "/interrex.v1.LeaseService/List"}, {Name: "content-type", Value: "application/json"},
	}, more...) {
		_ = h.WriteField(field) // to memory: it cannot fail
	}
	return head.Bytes()
}

// resets opens streams and resets them at once.
func resets(ctx context.Context, t *target) error {
	head := head()
	return frames(ctx, t, 4, func(ctx context.Context, f *http2.Framer) (err error) {
		for id := uint32(1); err == nil && id < 1<<30; id += 2 {
			err = errors.Join(
				f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: head, EndHeaders: true}),
				f.WriteRSTStream(id, http2.ErrCodeCancel))
			t.made.Add(1)
			if id%100 == 1 {
				pause(ctx, 10*time.Millisecond) // 5 000 a second on each connection
			}
		}
		return err
	})
}

// idleFrames sends frames that are part of no request.
func idleFrames(ctx context.Context, t *target) error {
	return frames(ctx, t, 16, func(ctx context.Context, f *http2.Framer) (err error) {
		for n := 1; err == nil; n++ {
			err = errors.Join(
				f.WritePing(false, [8]byte{}), f.WriteSettings(), f.WriteWindowUpdate(0, 1),
				f.WritePriority(1, http2.PriorityParam{StreamDep: 3}))
			t.made.Add(4)
			if n%25 == 0 {
				pause(ctx, 10*time.Millisecond) // 10 000 a second on each connection
			}
		}
		return err
	})
}

// endlessHeaders continues the headers of a request without end.
func endlessHeaders(ctx context.Context, t *target) error {
	more := bytes.Repeat([]byte{0, 1, 'a', 1, 'b'}, 3000) // literal fields that are not kept
	return frames(ctx, t, 16, func(ctx context.Context, f *http2.Framer) error {
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head()})
		for err == nil && ctx.Err() == nil {
			err = f.WriteContinuation(1, false, more)
			t.made.Add(1)
			pause(ctx, 10*time.Millisecond)
		}
		return err
	})
}

// headerBombs refers in each request, with a byte each, thousands of times to one header
// of 4 000 bytes.
func headerBombs(ctx context.Context, t *target) error {
	first := head(hpack.HeaderField{Name: "x", Value: strings.Repeat("x", 3900)})
	again := bytes.Repeat([]byte{0x80 | 62}, 15_000) // the newest entry of the dynamic table
	return frames(ctx, t, 4, func(ctx context.Context, f *http2.Framer) (err error) {
		for id := uint32(1); err == nil && ctx.Err() == nil; id += 2 {
			err = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: false})
			if err == nil {
				err = f.WriteContinuation(id, true, again)
			}
			t.made.Add(1)
			pause(ctx, 10*time.Millisecond)
		}
		return err
	})
}
