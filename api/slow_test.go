package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex/change"
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

// The time to accept what was written does not end a stream that is idle.
func TestAnIdleStreamOfEventsGoesOn(t *testing.T) {
	const wait = 50 * time.Millisecond
	nd := cluster(t, 1, func(c *Config) { c.SendWait = wait })[0]
	for name, transport := range map[string]http.RoundTripper{"HTTP/1.1": http.DefaultTransport, "HTTP/2": nd.http.Transport} {
		since := nd.claimed("jobs/"+name, "ann")
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s/changes?since=%d", nd.url, since), nil)
		nd.must(err)
		r.Header.Set("Accept", "text/event-stream")
		answer, err := transport.RoundTrip(r)
		nd.must(err)
		lines := bufio.NewReader(answer.Body)
		for n := range 3 {
			nd.kv("POST", "/changes", "1", isJSON)
			for line := ""; !strings.HasPrefix(line, "data: "); {
				if line, err = lines.ReadString('\n'); err != nil {
					t.Fatalf("%s, event %d: %v", name, n, err)
				}
			}
			time.Sleep(4 * wait) // it is idle
		}
		_ = answer.Body.Close()
	}
}

func TestAnAnswerOfChangesCopiesNoData(t *testing.T) {
	c := plainChange{ID: 1, Tags: []string{}, data: `"` + strings.Repeat("x", 1<<20) + `"`}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		out := bufio.NewWriter(io.Discard)
		if err := writePage(out, []plainChange{c}, change.Page{}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / 100; n > 256<<10 {
		t.Errorf("%d bytes for each", n)
	}
}
