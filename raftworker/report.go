package raftworker

import (
	"fmt"
	"maps"
	"time"

	"github.com/hashicorp/raft"
)

// Report describes raft for the engine's report. It never waits: the loop
// refreshes it once a second and at every change of leadership.
func (w *Worker) Report() map[string]any {
	r := map[string]any{}
	if known := w.report.Load(); known != nil {
		maps.Copy(r, *known)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	r["worker"] = w.stage
	return r
}

func (w *Worker) setStage(stage string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stage = stage
}

func (w *Worker) refreshReport(l *life) {
	_, leader := l.raft.LeaderWithID()
	state := l.raft.State()
	report := map[string]any{
		"state":  state.String(),
		"term":   l.raft.CurrentTerm(),
		"leader": string(leader),
		"index": map[string]any{
			"applied": l.raft.AppliedIndex(),
			"commit":  l.raft.CommitIndex(),
			"last":    l.raft.LastIndex(),
		},
		"applier": l.applier.Report(),
		"servers": l.servers(state == raft.Leader),
		"log":     l.logReport(w.cfg.StorageDir),
		"disk":    l.diskReport(),
	}
	if state != raft.Leader {
		report["last-contact"] = lastContact(l.raft.LastContact())
	}
	if index := l.rules.Stuck(); index != 0 {
		report["alarm"] = fmt.Sprintf("the snapshot of log index %d arrives repeatedly", index)
	}
	if names := w.visits.Visitors(); len(names) > 0 {
		report["visitors"] = names
	}
	l.metrics.sample(l)
	w.report.Store(&report)
}

// lastContact formats raft's own time of the last contact, which is by the wall
// clock.
func lastContact(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return time.Since(at).Round(time.Millisecond).String() + " ago"
}

// servers describes each member; on the leader also the last index at which its
// log matches.
func (l *life) servers(leads bool) map[string]any {
	answers, _ := l.transport.(interface {
		MatchIndex(peer raft.ServerID, term uint64) uint64
	})
	known := map[string]any{}
	for _, s := range l.raft.GetConfiguration().Configuration().Servers {
		server := map[string]any{"suffrage": s.Suffrage.String(), "address": string(s.Address)}
		switch {
		case !leads:
		case s.ID == l.config.LocalID:
			server["match"] = l.raft.LastIndex()
		case answers != nil:
			server["match"] = answers.MatchIndex(s.ID, l.raft.CurrentTerm())
		}
		known[string(s.ID)] = server
	}
	return known
}

func (l *life) logReport(dir string) map[string]any {
	r := map[string]any{"directory": dir}
	first, err := l.dir.FirstIndex()
	if err != nil {
		r["error"] = err.Error()
		return r
	}
	last, err := l.dir.LastIndex()
	if err != nil {
		r["error"] = err.Error()
		return r
	}
	r["first"], r["last"] = first, last
	return r
}

func (l *life) diskReport() string {
	if err := l.dir.Failure(); err != nil {
		return err.Error()
	}
	return "ok"
}
