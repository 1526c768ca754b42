package manifolds

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/leaseapplier"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/transport"
)

// agentMetrics are the figures that live as long as the agent. docs/metrics.md
// lists all metrics.
type agentMetrics struct {
	applier     *leaseapplier.Metrics
	requests    *method.Metrics
	overstayed  prometheus.Counter
	projections prometheus.Counter
	hooks       *hookcaller.Metrics
	starts      *prometheus.CounterVec
	up          *prometheus.GaugeVec
}

func newAgentMetrics(s *Set) *agentMetrics {
	m := &agentMetrics{
		applier:  leaseapplier.NewMetrics(s.config.Agent.Clock),
		requests: method.NewMetrics(),
		hooks:    hookcaller.NewMetrics(),
		overstayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_lease_overstayed_total", Help: "Users of a lease held through this agent, or of a worker, that had not stopped when they had to."}),
		projections: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "interrex_projection_failures_total", Help: "Failed attempts to open or write the database of lease holders."}),
		starts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "interrex_worker_starts_total", Help: "Starts of each worker."}, []string{"worker"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "interrex_worker_up", Help: "1 while the worker runs, else 0."}, []string{"worker"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "interrex_build_info", Help: "1, with the version as labels.",
		ConstLabels: prometheus.Labels{"version": s.config.Agent.Version, "go": runtime.Version()}})
	build.Set(1)
	s.registry.MustRegister(m.applier, m.requests, m.overstayed, m.projections, m.hooks, m.starts, m.up, build, stateCollector{s}, s.alarms)
	return m
}

// publisher fills the ring, and counts.
type publisher struct {
	*watch.Ring
	metrics *leaseapplier.Metrics
}

// Publish implements state.Publisher.
func (p publisher) Publish(events []state.Event, last interrex.Revision) {
	p.Ring.Publish(events, last)
	p.metrics.CountEvents(events)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("interrex_"+name, help, labels, nil)
}

// What stateCollector reads.
var (
	revisionDesc  = desc("revision", "The revision that this agent has applied.")
	leasesDesc    = desc("leases", "Leases that are held.", "namespace")
	resourcesDesc = desc("resources", "Resources that are stored.", "kind")
	changesDesc   = desc("changes_kept", "Changes that the feed keeps.")
	watchersDesc  = desc("watchers", "Watches that are open on this agent.")
	observerDesc  = desc("observations_dropped_total", "Changes that the program's observers have lost.")
	queueDesc     = desc("queue_depth", "Operations that wait for the log.", "lane")
	lagDesc       = desc("projection_lag_revisions", "Revisions that the database of lease holders is behind this agent.")
	breakerDesc   = desc("hook_breaker_open", "1 while a webhook is not called since it fails, else 0, on the agent that calls it.", "hook")
	hookLagDesc   = desc("hook_lag_revisions", "Revisions that a webhook that is called after events is behind, on the agent that calls it.", "hook")
	skippedDesc   = desc("hook_skipped_revisions", "Revisions that a webhook was not told of, since they were no longer kept.", "hook")
	silentDesc    = desc("member_silent_seconds", "Time since another member was last heard of, where this agent knows.", "member")
	diskDesc      = desc("disk_free_bytes", "Free bytes of the data directory's file system.")
	logDesc       = desc("log_bytes", "Bytes of raft's log on disk, with what is reserved for more of it.")
	snapshotDesc  = desc("snapshot_age_seconds", "Time since the newest snapshot was taken.")
	certDesc      = desc("tls_cert_expiry_timestamp_seconds", "When the first of this agent's certificates ends, in Unix seconds.")
)

// stateCollector reads what is there when it is asked. What is not there has no
// value.
type stateCollector struct{ set *Set }

// Describe implements prometheus.Collector.
func (c stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		revisionDesc, leasesDesc, resourcesDesc, changesDesc, watchersDesc, observerDesc, queueDesc, lagDesc, breakerDesc, hookLagDesc, skippedDesc, silentDesc, diskDesc, logDesc, snapshotDesc, certDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c stateCollector) Collect(ch chan<- prometheus.Metric) {
	now := c.set.view()
	readable := now.readable()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if o := c.set.config.Agent.Observers; o != nil {
		ch <- prometheus.MustNewConstMetric(observerDesc, prometheus.CounterValue, float64(o.Dropped()))
	}
	if now.state != nil {
		gauge(revisionDesc, float64(now.state.Revision()))
		gauge(watchersDesc, float64(now.ring.Stats().Watchers))
	}
	if now.state != nil && readable {
		for namespace, n := range now.leases.Counts() {
			gauge(leasesDesc, float64(n), namespace)
		}
		kept, _ := now.changes.Kept()
		gauge(changesDesc, float64(kept))
		for kind, n := range now.resources.Counts() {
			gauge(resourcesDesc, float64(n), kind)
		}
	}
	if now.queue != nil {
		normal, extend := now.queue.Depth()
		gauge(queueDesc, float64(normal), "normal")
		gauge(queueDesc, float64(extend), "extend")
	}
	if now.notifier != nil {
		gauge(lagDesc, float64(now.notifier.Progress().Lag))
	}
	if readable {
		c.hooks(gauge, now)
	}
	for _, m := range c.set.members(now) {
		if m.LastContact != nil {
			gauge(silentDesc, m.LastContact.Seconds(), m.ID)
		}
	}
	if now.dir != nil {
		c.disk(gauge, now.dir.path)
	}
	if ends := slices.Collect(maps.Values(c.set.certificateEnds())); len(ends) > 0 {
		gauge(certDesc, float64(slices.MinFunc(ends, time.Time.Compare).Unix()))
	}
}

// hooks are the figures of webhooks: what their calls are like is known where they
// are made.
func (c stateCollector) hooks(gauge func(*prometheus.Desc, float64, ...string), now view) {
	if now.webhooks == nil {
		return
	}
	for _, h := range now.webhooks.Hooks() {
		if h.When == interrex.WebhookAfter {
			gauge(skippedDesc, float64(h.Skipped), h.Name)
		}
		if health := c.set.webhookHealth(h); health != nil {
			open := 0.0
			if health.Breaker != hookcaller.Closed {
				open = 1
			}
			gauge(breakerDesc, open, h.Name)
		}
	}
	if now.teller == nil {
		return
	}
	last := now.state.Revision()
	for _, p := range now.teller.Progress() {
		gauge(hookLagDesc, float64(max(last, p.At)-p.At), p.Hook.Name)
	}
}

func (c stateCollector) disk(gauge func(*prometheus.Desc, float64, ...string), directory string) {
	if free, _, err := space(directory); err == nil {
		gauge(diskDesc, float64(free))
	}
	raft := filepath.Join(directory, datadir.RaftDir)
	gauge(logDesc, float64(logBytes(raft)))
	if taken := newestSnapshot(raft); !taken.IsZero() {
		gauge(snapshotDesc, time.Since(taken).Seconds())
	}
}

// files are those of a directory that are there now; an error is no file.
func files(directory string) (infos []fs.FileInfo) {
	entries, _ := os.ReadDir(directory)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			infos = append(infos, info)
		}
	}
	return infos
}

// logBytes is the size of the log in raft's directory: its segments and their list.
func logBytes(raft string) (bytes int64) {
	for _, f := range files(raft) {
		if strings.HasSuffix(f.Name(), ".wal") || strings.HasPrefix(f.Name(), "wal-") {
			bytes += f.Size()
		}
	}
	return bytes
}

// newestSnapshot says when the newest snapshot was written; zero: there is none.
func newestSnapshot(raft string) (newest time.Time) {
	for _, f := range files(filepath.Join(raft, "snapshots")) {
		if !strings.HasSuffix(f.Name(), ".tmp") && f.ModTime().After(newest) {
			newest = f.ModTime()
		}
	}
	return newest
}

// certificates are those in force, as long as they are used: "cluster" is the one
// between agents.
func (v view) certificates() map[string]transport.TLS {
	all := map[string]transport.TLS{}
	if v.between != nil {
		all["cluster"] = v.between
	}
	if v.apiTLS != nil {
		all["api"] = v.apiTLS
	}
	return all
}

// certificateEnds says when each of the agent's certificates ends.
func (s *Set) certificateEnds() map[string]time.Time {
	ends := map[string]time.Time{}
	for which, source := range s.view().certificates() {
		if cert, err := source.Certificate(); err == nil && cert.Leaf != nil {
			ends[which] = cert.Leaf.NotAfter
		}
	}
	return ends
}
