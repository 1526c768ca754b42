package raftworker

import (
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
)

// metrics are the metrics of one life of raft. They come from raft's accessors and
// from the log store: hashicorp's own are global to the process, which may run
// several agents.
type metrics struct {
	state    *prometheus.GaugeVec
	term     prometheus.Gauge
	commit   prometheus.Gauge
	applied  prometheus.Gauge
	contact  prometheus.Gauge
	changes  prometheus.Counter
	fsync    prometheus.Histogram
	collects []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "interrex_raft_state", Help: "1 for the state that raft is in."}, []string{"state"}),
		term:    gauge("interrex_raft_term", "The newest term of raft that this agent knows of."),
		commit:  gauge("interrex_raft_commit_index", "The newest log index known to be committed."),
		applied: gauge("interrex_raft_applied_index", "The newest log index handed to the state."),
		contact: gauge("interrex_raft_leader_last_contact_seconds", "Time since a follower's last contact with its leader; 0 on the leader."),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_raft_leader_changes_total", Help: "Changes of the leader that this agent has seen."}),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "interrex_log_fsync_duration_seconds", Help: "Duration of each fsync of the log.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 18)}),
	}
	m.collects = []prometheus.Collector{m.state, m.term, m.commit, m.applied, m.contact, m.changes, m.fsync}
	return m
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

// register registers the metrics in place of any that an earlier worker left
// registered. A failure is logged and does not stop raft.
func (m *metrics) register(cfg Config) {
	if cfg.PrometheusRegisterer == nil {
		return
	}
	for _, c := range m.collects {
		cfg.PrometheusRegisterer.Unregister(c)
		if err := cfg.PrometheusRegisterer.Register(c); err != nil {
			cfg.Logger.Warningf("registering raft metrics collector failed: %v", err)
		}
	}
}

func (m *metrics) unregister(cfg Config) {
	if cfg.PrometheusRegisterer == nil {
		return
	}
	for _, c := range m.collects {
		cfg.PrometheusRegisterer.Unregister(c)
	}
}

func (m *metrics) synced(took time.Duration) { m.fsync.Observe(took.Seconds()) }

func (m *metrics) leaderChanged(before, now interrex.Leadership) {
	if now.LeaderID != "" && (now.LeaderID != before.LeaderID || now.Term != before.Term) {
		m.changes.Inc()
	}
}

func (m *metrics) sample(l *life) {
	now := l.raft.State()
	for _, s := range []raft.RaftState{raft.Follower, raft.Candidate, raft.Leader, raft.Shutdown} {
		is := 0.0
		if s == now {
			is = 1
		}
		m.state.WithLabelValues(strings.ToLower(s.String())).Set(is)
	}
	m.term.Set(float64(l.raft.CurrentTerm()))
	m.commit.Set(float64(l.raft.CommitIndex()))
	m.applied.Set(float64(l.raft.AppliedIndex()))
	contact := 0.0
	if at := l.raft.LastContact(); now != raft.Leader && !at.IsZero() {
		contact = time.Since(at).Seconds()
	}
	m.contact.Set(contact)
}
