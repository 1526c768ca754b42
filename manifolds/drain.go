package manifolds

import (
	"context"
	"errors"
	"net/http"

	"github.com/juju/loggo"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/raftworker"
)

// Drain makes the agent ready to stop: it is not ready any more, hands
// leadership over, releases the leases that are held through it, and finishes
// what others have asked of it. Each step is bounded by ctx; the next one
// follows in any case.
func (s *Set) Drain(ctx context.Context) error {
	step := func(what string) { s.draining.Store(&what) }
	teller, raft := running[*hookcaller.Worker](s, WebhooksName), running[*raftworker.Worker](s, RaftName)
	client, server := running[*localClient](s, ClientName), s.server()
	var failed []error
	if teller != nil {
		step("the webhooks' positions to be noted")
		bounded, cancel := context.WithTimeout(ctx, noteTimeout)
		if err := teller.Note(bounded); err != nil { // who leads next tells some events twice
			s.logger("webhooks").Infof("%v", err)
		}
		cancel()
	}
	step("another agent to lead")
	if raft != nil {
		// Others elect a leader by themselves, if later: no reason to fail.
		if err := raft.HandOver(ctx); err != nil {
			s.logger("raft").Infof("%v", err)
		}
	}
	step("the leases that are held through this agent to be released")
	if client != nil {
		failed = append(failed, client.drain(ctx))
	}
	step("the calls that are open to be answered")
	if server != nil {
		failed = append(failed, server.Drain(ctx))
	}
	return errors.Join(failed...)
}

// Status returns the state of the agent and of its cluster, without asking another agent.
func (s *Set) Status() interrex.Status { return s.health.Status() }

// Handler is the public API, 503 while it does not run.
func (s *Set) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server := s.server()
		if server == nil {
			http.Error(w, "the API does not run", http.StatusServiceUnavailable)
			return
		}
		server.Handler().ServeHTTP(w, r)
	})
}

// Logger returns one of the agent's loggers.
func (s *Set) Logger(module string) loggo.Logger { return s.logger(module) }

// Extras are the workers without which an agent starts, by name: what they wait
// for may come later, and alarms say why they do not run. A damaged disk is such
// a reason: an agent that ended because of it could tell nobody.
func (s *Set) Extras() []string { return s.names(ProjectionName, NotifyName, RaftName) }

// Binders are the workers that take what others may have taken, addresses and the
// embedder's registry of metrics, by name.
func (s *Set) Binders() []string {
	names := s.names(TransportName, MetricsName)
	current, _ := s.configuration.Current()
	if current.API.Listen != "" {
		names = append(names, s.name(APIListenerName))
	}
	if current.API.Socket != "" || s.config.Agent.DataDir != "" {
		names = append(names, s.name(APISocketName))
	}
	return names
}
