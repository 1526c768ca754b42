package forward

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/admission"
)

func TestManyRequestsAtOnceMakeFewConnections(t *testing.T) {
	f := newFleet(t)
	address := f.member("a", fine)
	given, err := f.ca.TLS("f1")
	if err != nil {
		t.Fatal(err)
	}
	l := newMemberLine(address, given, nil)
	var all sync.WaitGroup
	for range 240 {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://member/stream", nil)
			answer, err := l.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = answer.Body.Close() })
		})
	}
	all.Wait() // each answer has begun
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.conns); n == 0 || n > lineConns {
		t.Errorf("%d connections were made", n)
	}
}

// Requests that wait for a connection to a member that does not answer fail together.
func TestRequestsThatWaitForAConnectionFailTogether(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	l := newMemberLine(silent.Addr().String(), newFleet(t).gatewayTLS(), nil)
	var all sync.WaitGroup
	began := time.Now()
	for range 20 * lineConns {
		all.Go(func() {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://member/stream", nil)
			if _, err := l.RoundTrip(r); !isUnsent(err) {
				t.Errorf("one failed with %v", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(began); took > 10*dialTimeout { // one after the other it is 20 times that
		t.Errorf("it took %v", took)
	}
}

func TestACallerThatFloodsAnAgentWithoutRaftKeepsNobodyOut(t *testing.T) {
	f := newFleet(t)
	g := f.gateway(f.member("a", fine))
	open := 0
	for g.room.enter("flood") == nil {
		open++
	}
	call := func(by string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("{}"))
		g.ServeHTTP(w, r.WithContext(admission.WithCaller(r.Context(), admission.Caller{Remote: by})))
		return w
	}
	if w := call("flood"); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "nothing has happened") {
		t.Errorf("the flood: %d %s", w.Code, w.Body)
	}
	for range 2 * lineRequests / open {
		if w := call("good"); w.Code != http.StatusOK {
			t.Fatalf("another caller: %d %s", w.Code, w.Body)
		}
	}
	if g.room.all != open {
		t.Errorf("%d are counted, of %d", g.room.all, open)
	}
}
