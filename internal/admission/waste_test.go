package admission

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestRequestsThatAreResetAreCounted(t *testing.T) {
	handled, counted := 0, 0
	conn := WithEntrance(t.Context(), Entrance{}, func() { counted++ })
	for _, c := range []struct {
		before, within bool
		handled, reset int
	}{{false, false, 1, 0}, {false, true, 2, 1}, {true, false, 2, 2}} {
		ctx, cancel := context.WithCancel(conn)
		if c.before {
			cancel()
		}
		h := Enter(nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			handled++
			if c.within {
				cancel()
			}
		}))
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil))
		cancel()
		if handled != c.handled || counted != c.reset {
			t.Errorf("%+v: %d are handled and %d counted", c, handled, counted)
		}
	}
}

func TestABodyInManySmallPiecesIsAWaste(t *testing.T) {
	large := strings.Repeat("x", 100*smallPiece)
	for name, c := range map[string]struct {
		body   io.Reader
		stream bool
		want   int
	}{
		"in bytes":             {iotest.OneByteReader(strings.NewReader(large)), false, len(large) - fewPieces},
		"in few bytes":         {iotest.OneByteReader(strings.NewReader(large[:fewPieces])), false, 0},
		"whole":                {strings.NewReader(large), false, 0},
		"a stream of messages": {iotest.OneByteReader(strings.NewReader(large)), true, 0},
	} {
		counted := 0
		r := httptest.NewRequestWithContext(WithEntrance(t.Context(), Entrance{}, func() { counted++ }), http.MethodPost, "/", c.body)
		if c.stream {
			r.URL.Path = "/interrex.v1.StreamService/Operate"
			r.Header.Set("Content-Type", "application/grpc")
		}
		Limited(time.Minute, time.Minute, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got, err := io.ReadAll(r.Body); err != nil || len(got) == 0 {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
		if counted != c.want {
			t.Errorf("%s: %d pieces are a waste, want %d", name, counted, c.want)
		}
	}
}
