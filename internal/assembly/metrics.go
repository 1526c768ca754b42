package assembly

import (
	"runtime"

	"github.com/juju/worker/v3"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/appliermetrics"
	"github.com/interrex/interrex/internal/compare"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/state"
)

// agentMetrics are the metrics that live as long as the agent, beside those of its
// health. docs/metrics.md lists all metrics.
type agentMetrics struct {
	applier     *appliermetrics.Metrics
	requests    *method.Metrics
	overstayed  prometheus.Counter
	projections prometheus.Counter
	backups     prometheus.Counter // that failed
	hooks       *hookcaller.Metrics
	connections *listener.Metrics
	inFlight    *admission.InFlight
	comparisons *compare.Metrics
}

func newAgentMetrics(s *Set) *agentMetrics {
	m := &agentMetrics{
		applier:     appliermetrics.New(s.config.Agent.Clock),
		requests:    method.NewMetrics(),
		hooks:       hookcaller.NewMetrics(),
		connections: listener.NewMetrics(),
		inFlight:    admission.NewInFlight(admission.MaxInFlight),
		comparisons: compare.NewMetrics(),
		overstayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_lease_overstayed_total", Help: "Users of a lease held through this agent, or of a worker, that had not stopped when they had to."}),
		projections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_projection_failures_total", Help: "Failed attempts to open or write the database of lease holders."}),
	}
	m.backups = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "interrex_backup_failures_total", Help: "Failed attempts to make a copy of the state, or to remove an old one."})
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "interrex_build_info", Help: "1, with the version as labels.",
		ConstLabels: prometheus.Labels{"version": s.config.Agent.Version, "go": runtime.Version()}})
	build.Set(1)
	s.registry.MustRegister(m.applier, m.requests, m.overstayed, m.projections, m.backups, m.hooks, m.connections, m.inFlight, m.comparisons, s.Lives, build, s.health)
	return m
}

// startMetrics publishes the agent's metrics in the embedder's registry for as long as
// the unit lives.
func (s *Set) startMetrics(u *unit.Unit) (worker.Worker, error) {
	if err := s.registry.Publish(); err != nil {
		return nil, err
	}
	u.Free(s.registry.Withdraw)
	return nil, nil
}

// publisher fills the ring, and counts.
type publisher struct {
	*watch.Ring
	metrics *appliermetrics.Metrics
}

// Publish implements machine.Publisher.
func (p publisher) Publish(events []state.Event, last interrex.Revision) {
	p.Ring.Publish(events, last)
	p.metrics.CountEvents(events)
}
