package apiserver

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex/gen/interrexv1"
)

// raw sends bytes to the public API over a connection of their own.
func (nd *node) raw(text string) net.Conn {
	nd.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(nd.url, "http://"))
	nd.must(err)
	nd.t.Cleanup(func() { _ = c.Close() })
	nd.must(c.SetDeadline(time.Now().Add(time.Minute)))
	_, err = io.WriteString(c, text)
	nd.must(err)
	return c
}

func TestABodyThatDoesNotComeIsAnsweredAndItsConnectionClosed(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.BodyWait = 50 * time.Millisecond })[0]
	for _, path := range []string{"POST /changes", "PUT /kv/a", "POST /interrex.v1.ChangeService/List"} {
		c := nd.raw(path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"da")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		text, err := io.ReadAll(answer.Body)
		nd.must(err)
		if answer.StatusCode/100 == 2 || !answer.Close {
			t.Errorf("%s: %d %s, closed: %v", path, answer.StatusCode, text, answer.Close)
		}
	}
}

func TestHalfAMessageForAWatchIsAnsweredInTime(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.BodyWait = 50 * time.Millisecond })[0]
	half := "\x00\x00\x00\x00\x09{"
	for _, path := range []string{"ChangeService/Watch", "LeaseService/Watch", "ResourceService/Watch"} {
		c := nd.raw("POST /interrex.v1." + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\nContent-Length: 100\r\n\r\n" + half)
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		text, err := io.ReadAll(answer.Body)
		nd.must(err)
		if !strings.Contains(string(text), `"error"`) || !answer.Close {
			t.Errorf("%s: %d %s, closed: %v", path, answer.StatusCode, text, answer.Close)
		}
	}
}

func TestAWatchOutlivesTheTimesForRequestAndAnswer(t *testing.T) {
	const wait = 200 * time.Millisecond
	nd := cluster(t, 1, func(c *Config) { c.BodyWait, c.SendWait = wait, wait })[0]
	for name, options := range map[string][]connect.ClientOption{"Connect": nil, "gRPC": {connect.WithGRPC()}} {
		since := nd.claimed("jobs/"+name, "ann")
		w, err := interrexv1.NewChangeServiceClient(nd.http, nd.url, options...).Watch(t.Context(), connect.NewRequest(&interrexv1.ChangeServiceWatchRequest{Since: since}))
		nd.must(err)
		for n := range 2 {
			time.Sleep(2 * wait) // idle for longer than a body may take, in real time: the deadline is the connection's own
			nd.kv("POST", "/changes", "1", isJSON)
			if !w.Receive() {
				t.Errorf("%s, event %d: %v", name, n, w.Err())
			}
		}
		_ = w.Close()
	}
}

func TestHalfAMessageOverGRPCEndsInTime(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.BodyWait = 50 * time.Millisecond })[0]
	for _, path := range []string{"LeaseService/Claim", "LeaseService/Watch"} {
		read, write := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, nd.url+"/interrex.v1."+path, read)
		nd.must(err)
		r.Header.Set("Content-Type", "application/grpc")
		go func() { _, _ = write.Write([]byte{0, 0, 0, 0, 9, 1}) }()
		answer, err := nd.http.Transport.RoundTrip(r)
		if err != nil {
			continue // the stream was reset
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if status := answer.Header.Get("Grpc-Status") + answer.Trailer.Get("Grpc-Status"); status == "0" || status == "" {
			t.Errorf("%s: %v %v", path, answer.Header, answer.Trailer)
		}
		_ = write.Close()
	}
}

func TestWhoReadsNoAnswerIsCutOff(t *testing.T) {
	nd := cluster(t, 1, func(c *Config) { c.SendWait = 50 * time.Millisecond })[0]
	for range 2 {
		if r := nd.kv("POST", "/changes", `"`+strings.Repeat("x", 500<<10)+`"`, isJSON); r.status != http.StatusOK {
			t.Fatal(r.body)
		}
	}
	c := nd.raw(strings.Repeat("GET /changes HTTP/1.1\r\nHost: x\r\n\r\n", 20)) // more than buffers take
	nd.waitFor(func() bool {
		_, err := io.WriteString(c, "x")
		return err != nil
	})
}

// The time limit for accepting a write does not end an idle stream.
func TestAnIdleStreamOfEventsGoesOn(t *testing.T) {
	const wait = 400 * time.Millisecond
	nd := cluster(t, 1, func(c *Config) { c.SendWait = wait })[0]
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": http.DefaultTransport, "HTTP/2": nd.http.Transport} {
		since := nd.claimed("jobs/"+name, "ann")
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/changes?since=%d", nd.url, since), nil)
		nd.must(err)
		r.Header.Set("Accept", "text/event-stream")
		answer, err := transport.RoundTrip(r)
		nd.must(err)
		lines := bufio.NewReader(answer.Body)
		for n := range 2 {
			nd.kv("POST", "/changes", "1", isJSON)
			for line := ""; !strings.HasPrefix(line, "data: "); {
				if line, err = lines.ReadString('\n'); err != nil {
					t.Fatalf("%s, event %d: %v", name, n, err)
				}
			}
			time.Sleep(2 * wait) // idle for longer than a body may take, in real time: the deadline is the connection's own
		}
		_ = answer.Body.Close()
	}
}
