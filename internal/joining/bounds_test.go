package joining

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/silent"
)

// A peer is not known before its request was read: those that send none must not be in
// the way of others.
func TestARequestThatDoesNotComeTakesNoSlot(t *testing.T) {
	c := newCluster(t)
	token := c.token(1)
	address := c.serve(c.ca)
	j := joiner(t, token, "n1", address)
	for range maxAtOnce + 1 {
		conn, err := j.dial(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", path)
		if line := make([]byte, 12); !reads(conn, line) || string(line) != "HTTP/1.1 100" { // it is being read
			t.Fatalf("the answer begins with %q", line)
		}
	}
	if _, err := Join(t.Context(), j); err != nil {
		t.Error(err)
	}
}

func reads(conn interface{ Read([]byte) (int, error) }, line []byte) bool {
	n, err := conn.Read(line)
	return err == nil && n == len(line)
}

func TestARequestThatDoesNotComeIsRefusedInTime(t *testing.T) {
	c := newCluster(t)
	address := c.serve(c.ca, func(h *HandlerConfig) {
		h.Wall = func() time.Time { return time.Now().Add(50*time.Millisecond - Timeout) }
	})
	j := joiner(t, c.token(1), "n1", address)
	conn, err := j.dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", path)
	text := make([]byte, 4096)
	n, err := conn.Read(text)
	if err != nil || !strings.Contains(string(text[:n]), "cannot read the request to join") {
		t.Errorf("it is answered with %q (%v)", text[:n], err)
	}
}

// warned keeps warnings.
type warned struct {
	silent.Logger
	mu    sync.Mutex
	lines []string
}

func (w *warned) Warningf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func TestAStrangerFillsNoLog(t *testing.T) {
	log := &warned{}
	h := NewHandler(HandlerConfig{Wall: time.Now, Logger: log})
	for i := range 100 {
		for _, r := range []*http.Request{
			httptest.NewRequest(http.MethodPost, fmt.Sprintf("/%d%%0aWARNING%%1b%%5b2J/%s", i, strings.Repeat("x", 8<<10)), nil),
			httptest.NewRequest(http.MethodPost, path, strings.NewReader(strings.Repeat("x", i))),
		} {
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	if len(log.lines) == 0 || len(log.lines) > inbound.MaxReasons {
		t.Errorf("%d lines are logged", len(log.lines))
	}
	for _, line := range log.lines {
		if len(line) > 3*inbound.MaxReason || strings.ContainsAny(line, "\n\x1b") {
			t.Errorf("a line of %d bytes: %.200q", len(line), line)
		}
	}
}

func TestFewAgentsJoinAtOnce(t *testing.T) {
	c := newCluster(t)
	begun, end := make(chan struct{}, maxAtOnce), make(chan struct{})
	address := c.serve(c.ca, func(h *HandlerConfig) {
		admit := h.Admit
		h.Admit = func(ctx context.Context, m *member.Admit) ([][]byte, error) {
			begun <- struct{}{}
			<-end
			return admit(ctx, m)
		}
	})
	token := c.token(maxAtOnce + 1)
	done := make(chan error, maxAtOnce)
	for i := range maxAtOnce {
		j := joiner(t, token, fmt.Sprintf("n%d", i+1), address)
		go func() { _, err := Join(t.Context(), j); done <- err }()
	}
	for range maxAtOnce {
		<-begun
	}
	late := joiner(t, token, "late", address)
	if _, failed := late.round(t.Context()); len(failed) != 1 || interrex.KindOf(failed[0]) != interrex.ErrOverloaded {
		t.Errorf("one more: %v", failed)
	}
	close(end)
	for range maxAtOnce {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestRefusedJoinsDoNotFillTheLog(t *testing.T) {
	c, log := newCluster(t), new(warned)
	address := c.serve(c.ca, func(h *HandlerConfig) { h.Logger = log })
	token := c.token(1)
	c.table = member.New() // one that does not know the token, nor a CA
	for range 20 {
		if grant, _ := joiner(t, token, "n1", address).round(t.Context()); grant != nil {
			t.Fatal("it is let in")
		}
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := len(log.lines); n != 1 {
		t.Errorf("%d warnings of the same refusal", n)
	}
}
