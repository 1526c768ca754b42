package api

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// newMetrics makes /metrics: what the configuration gives, and the server's
// own, which has a registry for itself because a server may be made again
// beside the same registry.
func (s *Server) newMetrics() http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "interrex",
		Name:      "watchers",
		Help:      "Watches that are open on this agent.",
	}, func() float64 { return float64(s.config.Ring.Stats().Watchers) }))
	all := prometheus.Gatherers{own}
	if s.config.Metrics != nil {
		all = append(all, s.config.Metrics)
	}
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}
