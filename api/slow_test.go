package api

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
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
