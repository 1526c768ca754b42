package admission

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/fairshare"
)

// Kind is what something that a caller has in flight counts as.
type Kind int

// The kinds, each with limits of its own: calls and extends that are not answered yet;
// what lasts, because it waits for something or is a stream; and watches.
const (
	Brief Kind = iota
	Extend
	Lasting
	Watch
	kinds
)

// MaxInFlight is how many of one kind may be in flight at an agent.
const MaxInFlight = 65_536

var inFlight = [kinds]struct{ label, text string }{
	Brief:   {"calls", "calls without an answer"},
	Extend:  {"extends", "extends without an answer"},
	Lasting: {"waits", "streams, and calls that wait"},
	Watch:   {"watches", "watches"},
}

// InFlight limits what callers have in flight at an agent: a caller may have a quarter of
// what the others leave of each kind. A caller is a Caller.Share.
type InFlight struct {
	most          int // of a kind
	pools         [kinds]*fairshare.Pool
	open, refused *prometheus.Desc
}

// NewInFlight returns an InFlight with nothing in flight; most is MaxInFlight except in
// tests.
func NewInFlight(most int) *InFlight {
	f := &InFlight{
		most:    most,
		open:    prometheus.NewDesc("interrex_api_in_flight", "What callers have in flight, by kind.", []string{"kind"}, nil),
		refused: prometheus.NewDesc("interrex_api_in_flight_refused_total", "What was overloaded because its caller had too much in flight, by kind.", []string{"kind"}, nil),
	}
	for k := range f.pools {
		f.pools[k] = fairshare.New(int64(most))
	}
	return f
}

// Take counts n more of a caller, which Give takes back. The error is ErrOverloaded.
func (f *InFlight) Take(k Kind, who string, n int) error {
	if f.pools[k].Take(who, int64(n)) {
		return nil
	}
	err := interrex.Errorf(interrex.ErrOverloaded,
		"you have as many %s at this agent as one caller may have, which is a quarter of what others leave of %d; nothing has happened: wait for some to end, or use another agent", inFlight[k].text, f.most)
	err.RetryAfter = 200 * time.Millisecond
	return err
}

// Give takes n of a caller back.
func (f *InFlight) Give(k Kind, who string, n int) { f.pools[k].Give(who, int64(n)) }

// Handler returns a handler whose requests are in flight until they are answered.
func (f *InFlight) Handler(k Kind, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := CallerOf(r.Context()).Share()
		if err := f.Take(k, who, 1); err != nil {
			Refuse(w, r, err)
			return
		}
		defer f.Give(k, who, 1)
		next.ServeHTTP(w, r)
	})
}

// Uses yields what is used, by label.
func (f *InFlight) Uses(yield func(label string, u fairshare.Use) bool) {
	for k, p := range f.pools {
		if !yield(inFlight[k].label, p.Use()) {
			return
		}
	}
}

// Describe implements prometheus.Collector.
func (f *InFlight) Describe(ch chan<- *prometheus.Desc) { ch <- f.open; ch <- f.refused }

// Collect implements prometheus.Collector.
func (f *InFlight) Collect(ch chan<- prometheus.Metric) {
	for label, u := range f.Uses {
		ch <- prometheus.MustNewConstMetric(f.open, prometheus.GaugeValue, float64(u.Used), label)
		ch <- prometheus.MustNewConstMetric(f.refused, prometheus.CounterValue, float64(u.Refused), label)
	}
}
