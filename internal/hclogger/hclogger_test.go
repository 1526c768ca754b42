package hclogger

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// words is a log in memory.
type words struct{ lines []string }

func (w *words) add(level, f string, a []any) {
	w.lines = append(w.lines, level+" "+fmt.Sprintf(f, a...))
}
func (w *words) Tracef(string, ...any)       {}
func (w *words) IsTraceEnabled() bool        { return false }
func (w *words) Debugf(f string, a ...any)   { w.add("DEBUG", f, a) }
func (w *words) Infof(f string, a ...any)    { w.add("INFO", f, a) }
func (w *words) Warningf(f string, a ...any) { w.add("WARNING", f, a) }

func TestHashicorpsWordsReachTheLog(t *testing.T) {
	log := &words{}
	h := New("raft", log).With("peer", "b")
	h.Warn("failed to contact", "time", hclog.Fmt("%d ms", 7))
	h.Error("failed", "error", "boom")
	h.Error("failed to heartbeat to", "peer", "c", "error", "boom")
	h.Warn("failed to contact", "server-id", "c")
	New(Transport, log).Error("failed to decode incoming command", "error", "boom")
	h.Info("entering follower state")
	h.Debug("not said below trace")
	h.Named("snapshot").Log(hclog.Warn, "odd", "alone")
	h.StandardLogger(nil).Print("from the standard library")
	want := []string{
		"INFO raft: failed to contact peer=b time=7 ms",
		"WARNING raft: failed peer=b error=boom",
		"DEBUG raft: failed to heartbeat to peer=b peer=c error=boom",
		"DEBUG raft: failed to contact peer=b server-id=c",
		"DEBUG transport: failed to decode incoming command error=boom",
		"DEBUG raft: entering follower state peer=b",
		"INFO raft.snapshot: odd peer=b",
		"DEBUG raft: from the standard library peer=b",
	}
	if got := strings.Join(log.lines, "\n"); got != strings.Join(want, "\n") {
		t.Error(got)
	}
}
