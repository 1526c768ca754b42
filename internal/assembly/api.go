package assembly

import (
	"context"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/forward"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/method"
	"github.com/interrex/interrex/internal/reads"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
)

// startAPI starts the server, which outlives every restart of raft: it looks up what
// it needs of raft when it needs it.
func (s *Set) startAPI(u *unit.Unit) (worker.Worker, error) {
	id := unit.Need[datadir.Identity](u, identityName)
	c := apiserver.Config{
		Clock: unit.Need[clock.Clock](u, ClockName), State: unit.Need[*machine.State](u, StateName),
		Ring: unit.Need[*watch.Ring](u, StateName), Queue: unit.Need[*queue.Queue](u, QueueName),
		Services:     unit.Need[[]method.Service](u, StateName),
		Leases:       &services.Leases{Table: unit.Need[*lease.Table](u, StateName), Feed: unit.Need[*change.Table](u, StateName), Waiting: waiting(unit.Need[unit.Handle[*raftLife]](u, raftSlotName))},
		Resources:    &services.Resources{Table: unit.Need[*resource.Table](u, StateName)},
		Changes:      &services.Changes{Table: unit.Need[*change.Table](u, StateName), Others: len(s.config.Agent.Tables) > 0},
		Webhooks:     s.webhookService(unit.Need[*webhook.Table](u, StateName), unit.Need[unit.Handle[*hookcaller.Caller]](u, hookCallerSlotName)),
		Members:      &services.Members{Table: unit.Need[*member.Table](u, StateName), Present: func() []interrex.Member { return s.view().Members() }, HandOver: s.handOver},
		Certificates: &services.Certificates{Table: unit.Need[*member.Table](u, StateName), Waiting: s.health.RotationWaiting},
		Switches:     unit.Need[*method.Switches](u, switchesName),
		Tokens:       &services.Tokens{Table: unit.Need[*access.Table](u, StateName)},
	}
	if s.WithoutRaft() {
		c.Elsewhere = elsewhere{unit.Need[unit.Handle[*forward.Gateway]](u, gatewaySlotName)}
	}
	engine := unit.Need[dependency.Reporter](u, EngineName)
	rounds, forwarding := unit.Need[unit.Handle[*reads.Rounds]](u, readsSlotName), unit.Need[unit.Handle[*forward.Forwarder]](u, forwarderSlotName)
	if u.Err != nil {
		return nil, u.Err
	}
	c.ID, c.Vet = id.ID, s.vet
	c.CAs, c.Member, c.Audit = c.Members.Table.Trusted, c.Members.Table.Present, admission.NewAudit(s.logger("audit"), c.Clock)
	c.Reads = func() (consistency.Reads, bool) { return rounds.Now() }
	c.Forward = forwardBy(forwarding)
	s.serves(&c, engine)
	server, err := apiserver.New(c)
	if err != nil {
		return nil, err
	}
	u.After(s.unanswered.Wait)
	u.Free(func() error { return s.endServer(server) })
	u.Give(server)
	u.ReportBy(s.reportAPI)
	return nil, nil
}

// serves completes the configuration of the API with what the set knows.
func (s *Set) serves(c *apiserver.Config, engine dependency.Reporter) {
	c.Version, c.Logger, c.Visitors = s.config.Agent.Version, s.logger("api"), &s.visitors
	c.Leadership = s.Leadership
	c.NextLeadership = func() func(context.Context) (interrex.Leadership, error) { return s.Leadership.Watch().Next }
	c.Engine = console{s, engine}
	c.Quarantine, c.Removed, c.Ready = s.quarantined, s.removal.Err, s.ready
	c.Silence = s.health.Silence
	c.Metrics, c.Requests, c.Budget, c.InFlight = s.registry.Served, s.metrics.requests, s.requests, s.metrics.inFlight
}

// endServer ends the streams of clients, for which the listeners would wait. Calls
// that take longer are cut by the listeners.
func (s *Set) endServer(server *apiserver.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	if err := server.Drain(ctx); err != nil {
		s.logger("api").Warningf("the API is stopping: %v", err)
	}
	return nil
}

// reportAPI reports the memory of requests, and what a drain is waiting for.
func (s *Set) reportAPI() map[string]any {
	report := map[string]any{
		"request-bytes": s.requests.Used(), "max-request-bytes": s.requests.Limit(), "refused": s.requests.Refused(),
	}
	if step := s.draining.Load(); step != nil {
		report[apiserver.KeyDrain] = *step
	}
	return report
}

// waiting counts the claims that wait for a key, where this agent leads.
func waiting(raft unit.Handle[*raftLife]) func(interrex.Key) (n int, known bool) {
	return func(k interrex.Key) (int, bool) {
		life, is := raft.Now()
		if !is || life.applier.ReadyTerm() == 0 {
			return 0, false
		}
		return life.applier.Waiting(k), true
	}
}

// serverTimeout bounds the wait for open calls of an API that is restarted or
// stopped without a drain before it.
const serverTimeout = time.Second
