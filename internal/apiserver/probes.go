package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"

	"github.com/interrex/interrex"
)

// probes serves the agent's health checks.
type probes struct{ server *Server }

// livezTimeout is how long the engine may take to respond.
const livezTimeout = 2 * time.Second

// livez reports whether the process and its engine respond. It does not need a
// quorum: a restart would not restore one.
func (p probes) livez(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), livezTimeout)
	defer cancel()
	_, err := p.server.reports.get(ctx)
	writeChecks(w, []Check{{Name: "engine", Err: err}}, true, "")
}

// readyz reports whether this agent can serve requests.
func (p probes) readyz(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	checks := p.checks()
	if q.Has("leaderless") {
		checks = slices.DeleteFunc(checks, func(c Check) bool { return c.Leader })
	}
	verbose := q.Has("verbose")
	var notes bytes.Buffer
	if verbose {
		for _, setting := range p.server.config.Switches.Off() {
			fmt.Fprintf(&notes, "[ ] %s is off\n", setting)
		}
	}
	if verbose && seesAgent(r.Context()) == nil {
		for _, a := range p.server.config.Engine.Status().Alarms {
			fmt.Fprintf(&notes, "[!] alarm %s; since %s; %s\n", a, a.Since.UTC().Format(time.RFC3339), a.Do)
		}
	}
	writeChecks(w, checks, verbose, notes.String())
}

// checks returns the checks of the readiness probe.
func (p probes) checks() []Check {
	var draining, leader error
	if p.server.calls.Draining() {
		draining = errors.New("the agent is stopping")
	}
	if l := p.server.config.Leadership.Current(); l.LeaderID == "" && !l.Leader {
		leader = fmt.Errorf("no leader is known in term %d", l.Term)
	}
	checks := []Check{
		{Name: "serving", Err: draining},
		{Name: "leader", Err: leader, Leader: true},
		{Name: "state", Err: p.server.config.State.Halted()},
	}
	if p.server.config.Ready != nil {
		checks = append(checks, p.server.config.Ready()...)
	}
	return checks
}

func (p probes) ready() bool {
	return !slices.ContainsFunc(p.checks(), func(c Check) bool { return c.Err != nil })
}

// writeChecks answers a probe: 200 and "ok", or 503 and the failed checks; all of
// them if verbose. Notes are appended for people and do not affect the status.
func writeChecks(w http.ResponseWriter, checks []Check, verbose bool, notes string) {
	var text bytes.Buffer
	status := http.StatusOK
	for _, c := range checks {
		switch {
		case c.Err != nil:
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&text, "[-] %s: %v\n", c.Name, c.Err)
		case verbose:
			fmt.Fprintf(&text, "[+] %s\n", c.Name)
		}
	}
	text.WriteString(notes)
	if status == http.StatusOK {
		text.WriteString("ok\n")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // an error means that the prober has gone
}

// leaderProbe answers 200 on the leader, so that a load balancer can find it.
func (p probes) leaderProbe(w http.ResponseWriter, _ *http.Request) {
	l := p.server.config.Leadership.Current()
	status := http.StatusServiceUnavailable
	if l.Leader {
		status = http.StatusOK
	}
	body, _ := json.Marshal(map[string]any{ // strings and numbers: it cannot fail
		"leader": l.Leader, "leader_id": l.LeaderID, "leader_address": l.LeaderAddress, "term": l.Term,
	})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // an error means that the prober has gone
}

// health implements gRPC's health service: serving means ready.
type health struct {
	server   *Server
	services []string
}

// Check implements grpchealth.Checker.
func (h *health) Check(_ context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if r.Service != "" && !slices.Contains(h.services, r.Service) {
		return nil, connect.NewError(connect.CodeNotFound, interrex.Errorf(interrex.ErrNotFound, "no service %q", r.Service))
	}
	if !(probes{h.server}).ready() {
		return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}
