package assembly

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/raftworker"
)

// Drain prepares the agent to stop: it becomes unready, hands leadership over,
// releases the leases that are held through it, and finishes the requests in
// progress. ctx bounds each step; after a step that fails the next one follows.
func (s *Set) Drain(ctx context.Context) error {
	s.logger("agent").Infof("draining")
	step := func(what string) { s.draining.Store(&what) }
	teller, raft := running[*hookcaller.Worker](s, WebhooksName), running[*raftworker.Worker](s, RaftName)
	client, server := running[*localClient](s, ClientName), s.server()
	var failed []error
	if teller != nil {
		step("the webhooks' positions to be noted")
		bounded, cancel := context.WithTimeout(ctx, noteTimeout)
		if err := teller.Note(bounded); err != nil { // the next leader sends some events twice
			s.logger("webhooks").Infof("%v", err)
		}
		cancel()
	}
	step("another agent to lead")
	if raft != nil {
		// The others elect a leader anyway, if later: this is not a failure.
		if err := raft.HandOver(ctx, ""); err != nil {
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

// handOver transfers leadership from this agent to a voter, or to any if id is empty,
// and returns who leads then.
func (s *Set) handOver(ctx context.Context, id string) (interrex.Leadership, error) {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	raft := running[*raftworker.Worker](s, RaftName)
	if now := s.Leadership.Current(); raft == nil || !now.Leader {
		return now, interrex.Errorf(interrex.ErrNotLeader, "agent %s does not lead", s.ID())
	}
	if err := raft.HandOver(ctx, id); err != nil {
		if interrex.KindOf(err) == "" {
			err = interrex.Errorf(interrex.ErrUnavailable, "%v", err)
		}
		return interrex.Leadership{}, err
	}
	watch := s.Leadership.Watch()
	for {
		now, err := watch.Next(ctx)
		switch {
		case err != nil:
			return now, interrex.Errorf(interrex.ErrUnavailable, "leadership was handed over, and no leader is known yet: 'interrex member list' shows it")
		case now.LeaderID != "" && now.LeaderID != s.ID():
			return now, nil
		case now.Ready:
			return now, interrex.Errorf(interrex.ErrConflict, "%s is the only voter: no other agent can lead", s.ID())
		}
	}
}

// transferTimeout bounds a transfer of leadership that an operator asks for.
const transferTimeout = 10 * time.Second

// Status returns the state of the agent and of its cluster, without asking another agent.
func (s *Set) Status() interrex.Status { return s.health.Status() }

// Handler returns the public API, which answers 503 while it does not run.
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

// Extras returns the names of the workers without which an agent starts: what they
// wait for may come later, and alarms say why they do not run. A damaged disk must
// not end the agent, which then could not report it.
func (s *Set) Extras() []string {
	return s.names(ProjectionName, NotifyName, RaftName, membershipName)
}

// Binders returns the names of the workers that take what may be in use already:
// addresses, and the embedder's registry of metrics. Those that wait for the agent's
// certificate are left out.
func (s *Set) Binders() []string {
	names := s.names(metricsName)
	current := s.section()
	pending, own := check.Pending(current), enrolment.OwnFiles(current.Agent.DataDir)
	switch {
	case s.WithoutRaft():
		names = append(names, s.Name(apiName))
	case !pending:
		names = append(names, s.Name(TransportName))
	}
	if current.API.Listen != "" && !(pending && current.API.TLS.Cert == own.Cert) {
		names = append(names, s.Name(APIListenerName))
	}
	if current.API.Socket != "" || s.config.Agent.DataDir != "" {
		names = append(names, s.Name(apiSocketName))
	}
	return names
}
