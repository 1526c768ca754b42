package admission

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
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
