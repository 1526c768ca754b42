package apiserver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Each request sees what happened before it, and many at once cost a few collections.
func TestManyRequestsForMetricsShareTheirCollection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		collections := 0
		happened := prometheus.NewCounter(prometheus.CounterOpts{Name: "happened"})
		registry := prometheus.NewRegistry()
		registry.MustRegister(happened, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "x"}, func() float64 { collections++; return 0 }))
		page := newMetricsPage(registry)
		get := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			return w
		}
		if w := get(); !strings.Contains(w.Body.String(), "happened 0\n") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
			t.Fatalf("the first page: %v %s", w.Header(), w.Body)
		}
		happened.Inc()
		var all sync.WaitGroup
		began := time.Now()
		for range 1000 {
			all.Go(func() {
				if w := get(); !strings.Contains(w.Body.String(), "happened 1\n") {
					t.Errorf("a page does not have what happened before: %s", w.Body)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); collections > 3 || took > 2*metricsPause {
			t.Errorf("1000 requests made %d collections and took %s", collections, took)
		}
	})
}
