package apiserver

import (
	"bytes"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsPause is the least time between the starts of two collections of metrics, so that
// those who ask for them without a pause cost little.
const metricsPause = 100 * time.Millisecond

// metricsPage serves /metrics, as text. Requests share a collection that begins after
// them.
type metricsPage struct {
	page http.Handler

	turn  chan struct{} // holds one while a request collects
	begun time.Time
	last  *written // not modified any more
}

func newMetricsPage(of prometheus.Gatherer) *metricsPage {
	return &metricsPage{turn: make(chan struct{}, 1), page: promhttp.HandlerFor(of, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, DisableCompression: true})}
}

// ServeHTTP implements http.Handler.
func (p *metricsPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := p.after(time.Now())
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // an error means that the caller has gone
}

// after returns a page whose metrics were collected after a time.
func (p *metricsPage) after(asked time.Time) *written {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if p.begun.After(asked) {
		return p.last
	}
	time.Sleep(time.Until(p.begun.Add(metricsPause)))
	begun, a := time.Now(), &written{header: http.Header{}, status: http.StatusOK}
	p.page.ServeHTTP(a, &http.Request{Method: http.MethodGet, Header: http.Header{}})
	p.begun, p.last = begun, a
	return a
}

// written is a response that was written to memory.
type written struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *written) Header() http.Header { return w.header }

func (w *written) WriteHeader(status int) { w.status = status }

func (w *written) Write(p []byte) (int, error) { return w.body.Write(p) }
