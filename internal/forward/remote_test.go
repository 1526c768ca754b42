package forward

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/peercall"
	"github.com/interrex/interrex/internal/silent"
)

// direct carries requests to a handler, as agent f1 sends them.
type direct struct{ to http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.to.ServeHTTP(w, r.WithContext(peercall.WithPeer(r.Context(), "f1")))
	answer := w.Result()
	answer.Request = r
	return answer, nil
}

func TestAMemberLearnsWhereAForwardedRequestCameFrom(t *testing.T) {
	var learnt string
	callers := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { learnt = r.RemoteAddr })
	member := Serve(http.NewServeMux(), MemberConfig{
		Callers: callers, May: fine, Epoch: func() interrex.Epoch { return interrex.Epoch{} }, Logger: silent.Logger{},
	})
	proxy := new(Gateway).newProxy()
	proxy.(*httputil.ReverseProxy).Transport = direct{member}
	for from, want := range map[string]string{
		"192.0.2.1:99": "192.0.2.1:99", "[2001:db8::1]:99": "[2001:db8::1]:99", "socket": "f1", "": "f1", "192.0.2.1:99, or so": "f1",
	} {
		ctx := admission.WithCaller(context.Background(), admission.Caller{Remote: from})
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/interrex.v1.LeaseService/Claim", nil)
		r.Header.Set(callersHeader, "192.0.2.66:1") // a caller may send anything
		proxy.ServeHTTP(httptest.NewRecorder(), r)
		if learnt != want {
			t.Errorf("from %q: the member believes %q", from, learnt)
		}
	}
}
