package admission

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPeerThatResetsItsRequestsIsDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, handled := WithEntrance(t.Context(), Entrance{}), 0
		h := Enter(nil, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			handled++
			if reset, is := r.Context().Value(conn).(context.CancelFunc); is {
				reset()
			}
		}))
		request := func(resets bool) (took time.Duration) {
			ctx, cancel := context.WithCancel(conn)
			defer cancel()
			if resets {
				ctx = context.WithValue(ctx, conn, cancel)
			}
			began := time.Now()
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil))
			return time.Since(began)
		}
		for range resetBurst + 1 {
			if took := request(true); took != 0 {
				t.Fatal("one that resets few requests is delayed")
			}
		}
		if took := request(false); took != resetPause || handled != resetBurst+2 {
			t.Errorf("the next one waits for %s; %d were handled", took, handled)
		}
		gone, cancel := context.WithCancel(conn)
		cancel()
		for range resetBurst {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(gone, http.MethodPost, "/", nil))
		}
		if handled != resetBurst+2 {
			t.Error("one is handled that was reset before")
		}
		time.Sleep(time.Minute)
		if took := request(false); took != 0 {
			t.Errorf("a minute later it still waits for %s", took)
		}
	})
}
