package manifolds

import (
	"context"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/change"
	"github.com/interrex/interrex/hookcaller"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/raftworker"
	"github.com/interrex/interrex/reads"
	"github.com/interrex/interrex/resource"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
	"github.com/interrex/interrex/webhook"
)

// startAPI makes the server, which outlives every restart of raft: what it needs of
// raft it looks up when it needs it.
func (s *Set) startAPI(u *unit) (worker.Worker, error) {
	id := need[raftworker.Identity](u, IdentityName)
	c := api.Config{
		Clock: need[clock.Clock](u, ClockName), State: need[*state.State](u, StateName),
		Ring: need[*watch.Ring](u, StateName), Queue: need[*queue.Queue](u, QueueName),
		Services:  need[[]api.Service](u, StateName),
		Leases:    &api.Leases{Table: need[*lease.Table](u, StateName), Waiting: waiting(need[handle[*raftLife]](u, RaftSlotName))},
		Resources: &api.Resources{Table: need[*resource.Table](u, StateName)},
		Changes:   &api.Changes{Table: need[*change.Table](u, StateName), Others: len(s.config.Agent.Tables) > 0},
		Webhooks:  s.webhookService(need[*webhook.Table](u, StateName), need[handle[*hookcaller.Caller]](u, HookCallerSlotName)),
		Switches:  need[*api.Switches](u, SwitchesName),
	}
	engine := need[dependency.Reporter](u, EngineName)
	rounds, forwarding := need[handle[*reads.Rounds]](u, ReadsSlotName), need[handle[*forwarder]](u, ForwarderSlotName)
	if u.err != nil {
		return nil, u.err
	}
	c.ID = id.ID
	c.Reads = func() (api.Reads, bool) { return rounds.now() }
	c.Forward = forwardBy(forwarding)
	s.serves(&c, engine)
	server, err := api.New(c)
	if err != nil {
		return nil, err
	}
	u.free(func() error { return s.endServer(server) })
	u.give(server)
	u.report = s.reportAPI
	return nil, nil
}

// serves completes the configuration of the API with what the set knows.
func (s *Set) serves(c *api.Config, engine dependency.Reporter) {
	c.Version, c.Logger, c.Visitors = s.config.Agent.Version, s.logger("api"), &s.visitors
	c.Leadership = s.Leadership
	c.NextLeadership = func() func(context.Context) (interrex.Leadership, error) { return s.Leadership.Watch().Next }
	c.Engine = console{s, engine}
	c.Quarantine, c.Ready = s.quarantined, s.ready
	c.Metrics, c.Requests = s.registry.own, s.metrics.requests
}

// endServer ends the streams of clients. The listeners wait for what is open: a
// client's stream ends only when its server does. Calls that take longer are the
// listeners' to cut.
func (s *Set) endServer(server *api.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
	defer cancel()
	if err := server.Drain(ctx); err != nil {
		s.logger("api").Warningf("the API stops: %v", err)
	}
	return nil
}

// reportAPI says what a drain waits for.
func (s *Set) reportAPI() map[string]any {
	if step := s.draining.Load(); step != nil {
		return map[string]any{api.KeyDrain: *step}
	}
	return nil
}

// waiting counts the claims that wait for a key, where this agent leads.
func waiting(raft handle[*raftLife]) func(interrex.Key) (n int, known bool) {
	return func(k interrex.Key) (int, bool) {
		life, is := raft.now()
		if !is || life.applier.ReadyTerm() == 0 {
			return 0, false
		}
		return life.applier.Waiting(k), true
	}
}

// serverTimeout bounds the wait for open calls of an API that is restarted or
// stopped without a drain before it.
const serverTimeout = time.Second

// forwardBy finds the way to another agent.
func forwardBy(way handle[*forwarder]) func(context.Context, string) (api.Forwarder, error) {
	return func(_ context.Context, id string) (api.Forwarder, error) {
		f, is := way.now()
		if !is {
			return nil, interrex.Errorf(interrex.KindUnavailable, "cannot forward to %s: the transport is not running", id)
		}
		return f.to(id)
	}
}
