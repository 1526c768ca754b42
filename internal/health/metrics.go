package health

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/hookcaller"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("interrex_"+name, help, labels, nil)
}

// What Collect reads. A part that does not run has no value.
var (
	revisionDesc    = desc("revision", "The revision that this agent has applied.")
	leasesDesc      = desc("leases", "Leases that are held.", "namespace")
	resourcesDesc   = desc("resources", "Resources that are stored.", "kind")
	changesDesc     = desc("changes_kept", "Changes that the feed keeps.")
	changesSizeDesc = desc("changes_bytes", "Bytes of the changes that the feed keeps, as changes.keep-bytes counts them.")
	limitDesc       = desc("limit_max", "A limit beyond which something is refused.", "limit")
	limitUsedDesc   = desc("limit_used", "How much of a limit is used.", "limit")
	requestsDesc    = desc("request_bytes", "Memory of the requests under way, in bytes.")
	requestsLimit   = desc("request_bytes_limit", "The memory that requests under way may use, in bytes.")
	refusedDesc     = desc("requests_refused_total", "Requests that were refused because there was no memory for them.")
	watchersDesc    = desc("watchers", "Watches that are open on this agent.")
	observerDesc    = desc("observations_dropped_total", "Changes and events of raft that the program's observers have lost.")
	queueDesc       = desc("queue_depth", "Operations that wait for the log.", "lane")
	lagDesc         = desc("projection_lag_revisions", "Revisions that the database of lease holders is behind this agent.")
	breakerDesc     = desc("hook_breaker_open", "1 while a webhook is not called since it fails, else 0, on the agent that calls it.", "hook")
	hookLagDesc     = desc("hook_lag_revisions", "Revisions that a webhook that is called after events is behind, on the agent that calls it.", "hook")
	skippedDesc     = desc("hook_skipped_revisions", "Revisions that a webhook was not told of, because they were no longer kept.", "hook")
	silentDesc      = desc("member_silent_seconds", "Time since another member was last heard of, where this agent knows.", "member")
	diskDesc        = desc("disk_free_bytes", "Free bytes of the data directory's file system.")
	logDesc         = desc("log_bytes", "Bytes of raft's log on disk, with what is reserved for more of it.")
	snapshotDesc    = desc("snapshot_age_seconds", "Time since the newest snapshot was taken.")
	backupLastDesc  = desc("backup_last_timestamp_seconds", "When the last good copy of the state was made, in Unix seconds.")
	backupBytesDesc = desc("backup_bytes", "Bytes of the last copy of the state that this agent has made.")
	backupTookDesc  = desc("backup_duration_seconds", "How long that copy took, with reading it back.")
	certDesc        = desc("tls_cert_expiry_timestamp_seconds", "When the first of this agent's certificates ends, in Unix seconds.")
)

// Describe implements prometheus.Collector.
func (h *Health) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		revisionDesc, leasesDesc, resourcesDesc, changesDesc, changesSizeDesc, limitDesc, limitUsedDesc, requestsDesc, requestsLimit, refusedDesc, watchersDesc, observerDesc, queueDesc, lagDesc, breakerDesc, hookLagDesc, skippedDesc, silentDesc, diskDesc, logDesc, snapshotDesc, backupLastDesc, backupBytesDesc, backupTookDesc, certDesc,
	} {
		ch <- d
	}
	h.alarms.Describe(ch)
}

// Collect implements prometheus.Collector.
func (h *Health) Collect(ch chan<- prometheus.Metric) {
	h.alarms.Collect(ch)
	v := h.look()
	readable := v.readable()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	if o := v.Observers; o != nil {
		ch <- prometheus.MustNewConstMetric(observerDesc, prometheus.CounterValue, float64(o.Dropped()))
	}
	if b := v.Requests; b != nil {
		gauge(requestsDesc, float64(b.Used()))
		gauge(requestsLimit, float64(b.Limit()))
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(b.Refused()))
	}
	if v.State != nil {
		gauge(revisionDesc, float64(v.State.Revision()))
		gauge(watchersDesc, float64(v.Ring.Stats().Watchers))
	}
	if v.State != nil && readable {
		for namespace, n := range v.Leases.Counts() {
			gauge(leasesDesc, float64(n), namespace)
		}
		kept, bytes := v.Changes.Kept()
		gauge(changesDesc, float64(kept))
		gauge(changesSizeDesc, float64(bytes))
		for kind, n := range v.Resources.Counts() {
			gauge(resourcesDesc, float64(n), kind)
		}
	}
	for _, l := range v.limits(readable) {
		if l.caller != "" {
			continue // callers are no label
		}
		gauge(limitDesc, float64(l.most), l.name)
		gauge(limitUsedDesc, float64(l.used), l.name)
	}
	if v.Queue != nil {
		normal, extend := v.Queue.Depth()
		gauge(queueDesc, float64(normal), "normal")
		gauge(queueDesc, float64(extend), "extend")
	}
	if v.Notifier != nil {
		gauge(lagDesc, float64(v.Notifier.Progress().Lag))
	}
	v.backupMetrics(gauge)
	if readable {
		v.webhookMetrics(gauge)
	}
	for _, m := range v.Members() {
		if m.LastContact != nil {
			gauge(silentDesc, m.LastContact.Seconds(), m.ID)
		}
	}
	if v.Directory != "" {
		directoryMetrics(gauge, v.Directory)
	}
	if ends := slices.Collect(maps.Values(v.certificateEnds())); len(ends) > 0 {
		gauge(certDesc, float64(slices.MinFunc(ends, time.Time.Compare).Unix()))
	}
}

// webhookMetrics are those of webhooks: the health of their calls is known to the
// agent that makes them.
func (v View) webhookMetrics(gauge func(*prometheus.Desc, float64, ...string)) {
	if v.Webhooks == nil {
		return
	}
	for _, h := range v.Webhooks.Hooks() {
		if h.When == interrex.WebhookAfter {
			gauge(skippedDesc, float64(h.Skipped), h.Name)
		}
		if health := v.Webhook(h); health != nil {
			open := 0.0
			if health.Breaker != hookcaller.Closed {
				open = 1
			}
			gauge(breakerDesc, open, h.Name)
		}
	}
	if v.Teller == nil {
		return
	}
	last := v.State.Revision()
	for _, p := range v.Teller.Progress() {
		gauge(hookLagDesc, float64(max(last, p.At)-p.At), p.Hook.Name)
	}
}

func directoryMetrics(gauge func(*prometheus.Desc, float64, ...string), directory string) {
	if free, _, err := space(directory); err == nil {
		gauge(diskDesc, float64(free))
	}
	raft := filepath.Join(directory, datadir.RaftDir)
	gauge(logDesc, float64(logBytes(raft)))
	if taken := newestSnapshot(raft); !taken.IsZero() {
		gauge(snapshotDesc, time.Since(taken).Seconds())
	}
}

// files returns the files of a directory; none where it cannot be read.
func files(directory string) (infos []fs.FileInfo) {
	entries, _ := os.ReadDir(directory)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			infos = append(infos, info)
		}
	}
	return infos
}

// logBytes returns the size of the log in raft's directory: its segments and their list.
func logBytes(raft string) (bytes int64) {
	for _, f := range files(raft) {
		if strings.HasSuffix(f.Name(), ".wal") || strings.HasPrefix(f.Name(), "wal-") {
			bytes += f.Size()
		}
	}
	return bytes
}

// newestSnapshot returns when the newest snapshot was written; zero: there is none.
func newestSnapshot(raft string) (newest time.Time) {
	for _, f := range files(filepath.Join(raft, "snapshots")) {
		if !strings.HasSuffix(f.Name(), ".tmp") && f.ModTime().After(newest) {
			newest = f.ModTime()
		}
	}
	return newest
}
