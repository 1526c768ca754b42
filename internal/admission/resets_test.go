package admission

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPeerThatResetsItsRequestsIsReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow time.Duration
		handled := 0
		conn := WithEntrance(t.Context(), Entrance{}, func(d time.Duration) { slow = d })
		request := func(resets, before bool) {
			ctx, cancel := context.WithCancel(conn)
			defer cancel()
			if before {
				cancel()
			}
			h := Enter(nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				handled++
				if resets {
					cancel()
				}
			}))
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil))
		}
		for range resetBurst {
			request(true, false)
			request(false, false)
		}
		if slow != 0 || handled != 2*resetBurst {
			t.Fatalf("one that resets few requests is slowed down for %s; %d were handled", slow, handled)
		}
		for range 50 {
			request(true, true)
		}
		if want := time.Second / 2; slow != want || handled != 2*resetBurst {
			t.Errorf("it is slow for %s, want %s; %d were handled", slow, want, handled)
		}
		time.Sleep(time.Minute)
		slow = 0
		if request(true, false); slow != 0 {
			t.Errorf("a minute later it is slowed down for %s", slow)
		}
	})
}
