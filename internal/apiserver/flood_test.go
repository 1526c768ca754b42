package apiserver

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/fairshare"
)

// door is a request that lasts.
type door struct{ method, path, contentType, accept, body string }

func (d door) request(ctx context.Context, t *testing.T, url string) *http.Request {
	t.Helper()
	var body io.Reader = strings.NewReader(d.body)
	if d.contentType == isGRPC { // its stream stays open
		r, w := io.Pipe()
		context.AfterFunc(ctx, func() { _ = w.Close() })
		body = r
		if d.body != "" {
			body = strings.NewReader(d.body)
		}
	}
	r, err := http.NewRequestWithContext(ctx, d.method, url+d.path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", d.contentType)
	r.Header.Set("Accept", d.accept)
	return r
}

const isGRPC, isEvents, emptyFrame = "application/grpc", "text/event-stream", "\x00\x00\x00\x00\x00"

// At each door by which a request may last, one caller has a quarter, and others go on.
func TestAFloodAtOneDoorIsRefusedAndOthersAreServed(t *testing.T) {
	flight := admission.NewInFlight(16)
	nd := cluster(t, 1, func(c *Config) { c.InFlight = flight })[0]
	nd.claimed("a/b", "ann")
	waits := func() (n int64) {
		flight.Uses(func(kind string, u fairshare.Use) bool { n = u.Used; return kind != "waits" })
		return n
	}
	for _, d := range []door{
		{"POST", "/interrex.v1.LeaseService/Claim", "application/json", "", `{"key":"a/b","holder":"bob","wait":"60s"}`},
		{"POST", "/interrex.v1.ChangeService/List", "application/json", "", `{"since":"1","tags":["none"],"block":"60s"}`},
		{"GET", "/changes?since=1&tag=none&block=60", "", "", ""},
		{"GET", "/kv/none?since=1&block=60", "", "", ""},
		{"GET", "/changes", "", isEvents, ""},
		{"GET", "/kv/none", "", isEvents, ""},
		{"POST", "/interrex.v1.LeaseService/Watch", isGRPC, "", emptyFrame},
		{"POST", "/interrex.v1.StreamService/Watch", isGRPC, "", ""},
		{"POST", "/interrex.v1.StreamService/Operate", isGRPC, "", ""},
		{"POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", isGRPC, "", ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		flood, good := h2c(), h2c()
		done := make(chan struct{}, 5)
		last := func(by *http.Client) {
			go func() {
				if a, err := by.Do(d.request(ctx, t, nd.url)); err == nil {
					_, _ = io.Copy(io.Discard, a.Body)
					_ = a.Body.Close()
				}
				done <- struct{}{}
			}()
		}
		for i := range int64(4) {
			last(flood)
			nd.waitFor(func() bool { return waits() == i+1 })
		}
		a, err := flood.Do(d.request(ctx, t, nd.url))
		nd.must(err)
		body, _ := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if refused := a.StatusCode == 429 && (a.Header.Get("Retry-After") != "" || strings.Contains(string(body), "retryAfter")) || a.Header.Get("Grpc-Status")+a.Trailer.Get("Grpc-Status") == "8"; !refused {
			t.Errorf("%s: a fifth one: %d %v %s", d.path, a.StatusCode, a.Header, body)
		}
		last(good)
		nd.waitFor(func() bool { return waits() == 5 })
		cancel()
		for range 5 {
			<-done
		}
		nd.waitFor(func() bool { return waits() == 0 })
		flood.CloseIdleConnections()
		good.CloseIdleConnections()
	}
}
