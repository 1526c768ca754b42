package listener

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// sent returns the preface, and the frames that are written by write.
func sent(t *testing.T, write func(*http2.Framer) error) []byte {
	t.Helper()
	b := bytes.NewBufferString(http2.ClientPreface)
	f := http2.NewFramer(b, nil)
	f.AllowIllegalWrites = true
	if err := write(f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFramesThatNoHandlerReceivesAreAWaste(t *testing.T) {
	large, small := make([]byte, smallData), make([]byte, smallData-1)
	for name, c := range map[string]struct {
		write func(*http2.Framer) error
		waste int
	}{
		"PING":                     {func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) }, 1},
		"SETTINGS":                 {func(f *http2.Framer) error { return f.WriteSettings() }, 1},
		"PRIORITY":                 {func(f *http2.Framer) error { return f.WritePriority(1, http2.PriorityParam{}) }, 1},
		"WINDOW_UPDATE":            {func(f *http2.Framer) error { return f.WriteWindowUpdate(0, 1) }, 1},
		"RST_STREAM":               {func(f *http2.Framer) error { return f.WriteRSTStream(1, 0) }, 1},
		"GOAWAY":                   {func(f *http2.Framer) error { return f.WriteGoAway(0, 0, small) }, 1},
		"a type that nobody knows": {func(f *http2.Framer) error { return f.WriteRawFrame(77, 0, 0, make([]byte, 70000)) }, 1},
		"DATA that is empty":       {func(f *http2.Framer) error { return f.WriteData(1, false, nil) }, 1},
		"DATA that is small":       {func(f *http2.Framer) error { return f.WriteData(1, false, small) }, 1},
		"DATA that is small, each time before a larger one": {func(f *http2.Framer) error {
			if err := f.WriteData(1, false, small); err != nil {
				return err
			}
			return f.WriteData(1, false, large)
		}, 0},
		"DATA that ends a body": {func(f *http2.Framer) error { return f.WriteData(1, true, nil) }, 0},
		"DATA":                  {func(f *http2.Framer) error { return f.WriteData(1, false, large) }, 0},
		"HEADERS": {func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: small})
		}, 0},
		"CONTINUATION":                {func(f *http2.Framer) error { return f.WriteContinuation(1, false, nil) }, 1},
		"DATA that is padded":         {func(f *http2.Framer) error { return f.WriteDataPadded(1, false, nil, large) }, 1},
		"PING, seldom, among HEADERS": {func(f *http2.Framer) error { return seldom(f) }, 0},
	} {
		const times = 10
		all := sent(t, func(f *http2.Framer) error {
			for range times*framesPerWaste + 1 {
				if err := c.write(f); err != nil {
					return err
				}
			}
			return nil
		})
		if name == "PING, seldom, among HEADERS" {
			all = sent(t, c.write)
		}
		for _, step := range []int{1, 7, headBytes, len(all)} { // however it comes
			f, waste := &frames{}, 0
			for p := range slices.Chunk(all, step) {
				waste += f.received(p)
			}
			if waste != c.waste*times {
				t.Errorf("%s, %d bytes at a time: %d are a waste, want %d", name, step, waste, c.waste*times)
			}
		}
	}
}

// seldom sends less pings than are a waste, among many requests.
func seldom(f *http2.Framer) error {
	for range framesPerWaste - 1 {
		if err := f.WritePing(false, [8]byte{}); err != nil {
			return err
		}
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1}); err != nil {
			return err
		}
	}
	return nil
}

func TestOtherProtocolsHaveNoFrames(t *testing.T) {
	for _, begins := range []string{"GET / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n", "P"} {
		f := &frames{}
		if f.received([]byte(begins)); f.received(make([]byte, 10*framesPerWaste*headBytes)) != 0 {
			t.Errorf("after %q frames are counted", begins)
		}
	}
}

// A peer that receives much has to make room for more.
func TestWhatIsSentPaysForFrames(t *testing.T) {
	pings := sent(t, func(f *http2.Framer) error {
		for range 2 * framesPerWaste {
			if err := f.WriteWindowUpdate(0, 1); err != nil {
				return err
			}
		}
		return nil
	})
	f := &frames{}
	f.pay(framesPerWaste * bytesPerFrame)
	if waste := f.received(pings); waste != 1 {
		t.Errorf("%d are a waste, half of them is paid for", waste)
	}
	f.pay(bytesPerFrame - 1)
	if waste := f.received(pings[len(preface):]); waste != 2 {
		t.Errorf("%d are a waste, none is paid for", waste)
	}
	f.pay(savedBytes)
	f.pay(savedBytes)
	if got := f.saved; got != savedBytes {
		t.Errorf("%d bytes are saved up", got)
	}
}

// Some peers send a PING for each frame of an answer, to measure how fast it came.
func TestAnswersPayForFrames(t *testing.T) {
	for name, c := range map[string]struct {
		write func(*http2.Framer) error
		waste int
	}{
		"HEADERS": {func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1})
		}, 0},
		"DATA":               {func(f *http2.Framer) error { return f.WriteData(1, false, make([]byte, smallData)) }, 0},
		"DATA that is small": {func(f *http2.Framer) error { return f.WriteData(1, false, make([]byte, smallData-1)) }, 9},
		"PING":               {func(f *http2.Framer) error { return f.WritePing(true, [8]byte{}) }, 9},
	} {
		answer := sent(t, c.write)[len(preface):]
		ping := sent(t, func(f *http2.Framer) error { return f.WritePing(false, [8]byte{}) })[len(preface):]
		for _, step := range []int{1, 7, len(answer)} { // however it is written
			f, waste := &frames{}, 0
			f.received([]byte(preface))
			for range 10 * framesPerWaste {
				for p := range slices.Chunk(answer, step) {
					waste += f.sent(p)
				}
				waste += f.received(ping)
			}
			if waste != c.waste {
				t.Errorf("%s, %d bytes at a time: %d are a waste, want %d", name, step, waste, c.waste)
			}
		}
	}
}

// A request that the server refuses, or a piece of a body of which it knows no request, is
// answered with the reset of its stream.
func TestResetsThatAreSentAreAWaste(t *testing.T) {
	reset := sent(t, func(f *http2.Framer) error { return f.WriteRSTStream(1, http2.ErrCodeStreamClosed) })[len(preface):]
	f, waste := &frames{}, 0
	f.received([]byte(preface))
	for range 10 * framesPerWaste {
		waste += f.sent(reset)
	}
	if waste != 9 { // their own bytes pay for one or two
		t.Errorf("%d are a waste, want 9", waste)
	}
	if f = (&frames{}); f.sent(bytes.Repeat(reset, 10*framesPerWaste)) != 0 {
		t.Error("resets are found in what is not HTTP/2")
	}
}

// dialed returns a connection to a Listener over TLS for HTTP/2, and the other end of it
// once it is accepted.
func dialed(t *testing.T) (*tls.Conn, <-chan *clearConn) {
	t.Helper()
	accepted := make(chan *clearConn, 1)
	l, config := secured(t, func(c *Config) {
		c.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			accepted <- c.(*clearConn)
			return ctx
		}
	})
	config.NextProtos = []string{"h2"}
	c, err := tls.Dial("tcp", l.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, accepted
}

// The frames come within TLS.
func TestAPeerThatSendsOnlyPingsIsReadSlowly(t *testing.T) {
	c, accepted := dialed(t)
	go func() { // it reads what comes, so that only its pings are bad
		for b := make([]byte, 4<<10); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
		}
	}()
	flood := sent(t, func(f *http2.Framer) error {
		if err := f.WriteSettings(); err != nil {
			return err
		}
		for range 2 * wasteBurst * framesPerWaste {
			if err := f.WritePing(false, [8]byte{}); err != nil {
				return err
			}
		}
		return nil
	})
	if _, err := c.Write(flood); err != nil {
		t.Fatal(err)
	}
	below := (<-accepted).below
	for end := time.Now().Add(time.Minute); below.slow.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not slowed down")
		}
	}
}

// The server answers each request with a reset. Each batch ends with a PING, so that no
// more than a batch is unanswered.
func TestAPeerWhoseRequestsAreMalformedIsReadSlowly(t *testing.T) {
	c, accepted := dialed(t)
	const batch = 500
	all, id := sent(t, func(f *http2.Framer) error { return f.WriteSettings() }), uint32(1)
	var below *limitedConn
	for n := 0; below == nil || below.slow.Load() == 0; n += batch {
		if n > 2*wasteBurst*framesPerWaste {
			t.Fatal("it is not slowed down")
		}
		requests := sent(t, func(f *http2.Framer) error {
			for ; id%(2*batch) != 2*batch-1; id += 2 {
				if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true}); err != nil {
					return err
				}
			}
			id += 2
			return f.WritePing(false, [8]byte{})
		})
		if _, err := c.Write(append(all, requests[len(preface):]...)); err != nil {
			t.Fatal(err)
		}
		all = nil
		awaitPing(t, http2.NewFramer(nil, c))
		if below == nil {
			below = (<-accepted).below
		}
	}
}

// awaitPing reads frames up to the answer to a PING.
func awaitPing(t *testing.T, f *http2.Framer) {
	t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if _, is := frame.(*http2.PingFrame); is {
			return
		}
	}
}

func TestAPeerThatReceivesMuchIsNotReadSlowly(t *testing.T) {
	const pings = 10 * framesPerWaste
	for _, pays := range []bool{false, true} {
		here, there := net.Pipe()
		below := &limitedConn{Conn: here, of: &limitedListener{}, from: &peers{}}
		c := &clearConn{Conn: below, below: below}
		if pays {
			go func() { _, _ = io.CopyN(io.Discard, there, pings*bytesPerFrame) }()
			if _, err := c.Write(make([]byte, pings*bytesPerFrame)); err != nil {
				t.Fatal(err)
			}
		}
		all := sent(t, func(f *http2.Framer) error {
			for range pings {
				if err := f.WritePing(false, [8]byte{}); err != nil {
					return err
				}
			}
			return nil
		})
		go func() {
			_, _ = there.Write(all)
			_ = there.Close()
		}()
		if _, err := io.Copy(io.Discard, struct{ io.Reader }{c}); err != nil {
			t.Fatal(err)
		}
		if wasted := below.wasted.own.many > 0; wasted == pays {
			t.Errorf("it receives much: %v; its pings are a waste: %v", pays, wasted)
		}
	}
}
