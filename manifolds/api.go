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
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/lease"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/resource"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/watch"
	"github.com/interrex/interrex/webhook"
)

// leasesFeature lives while leases are switched on.
func (s *Set) leasesFeature() dependency.Manifold {
	return dependency.Manifold{
		Inputs: s.names(FeaturesConfigName),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			features, err := get[config.Features](ctx, s.name(FeaturesConfigName))
			if err != nil {
				return nil, err
			}
			if !features.Leases.On() {
				return nil, errOff
			}
			return keep(nil, nil), nil
		},
	}
}

// off is the Service.Off of a feature.
func off(feature string, is config.Switch) string {
	if is.On() {
		return ""
	}
	return "features." + feature
}

// api makes the server, which outlives every restart of raft: what it needs of
// raft it looks up when it needs it.
func (s *Set) api() dependency.Manifold {
	return Gate(s.name(APIName), dependency.Manifold{
		Inputs: s.names(ClockName, IdentityName, StateName, QueueName, FeaturesConfigName),
		Start:  s.startAPI,
		Output: owned(giveOutput),
	}, s.names(StateName, QueueName)...)
}

func (s *Set) startAPI(ctx dependency.Context) (worker.Worker, error) {
	c := api.Config{
		Version:        s.config.Agent.Version,
		Leadership:     s.Leadership,
		NextLeadership: func() func(context.Context) (interrex.Leadership, error) { return s.Leadership.Watch().Next },
		Reads: func() (api.Reads, bool) {
			rounds := s.Present.now().rounds
			return rounds, rounds != nil
		},
		Forward:    s.forward,
		Engine:     engine{set: s, started: s.started},
		Quarantine: s.quarantined,
		Ready:      s.ready,
		Metrics:    s.registry.own,
		Requests:   s.metrics.requests,
		Logger:     s.logger("api"),
	}
	dir, err := get[*dataDir](ctx, s.name(IdentityName))
	if err != nil {
		return nil, err
	}
	c.ID = dir.ID
	if c.Clock, err = get[clock.Clock](ctx, s.name(ClockName)); err != nil {
		return nil, err
	}
	if c.State, err = get[*state.State](ctx, s.name(StateName)); err != nil {
		return nil, err
	}
	table, err := get[*lease.Table](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	hooks, err := get[*webhook.Table](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	resources, err := get[*resource.Table](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	changes, err := get[*change.Table](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	services, err := get[[]api.Service](ctx, s.name(StateName))
	if err != nil {
		return nil, err
	}
	if c.Ring, err = get[*watch.Ring](ctx, s.name(StateName)); err != nil {
		return nil, err
	}
	if c.Queue, err = get[*queue.Queue](ctx, s.name(QueueName)); err != nil {
		return nil, err
	}
	features, err := get[config.Features](ctx, s.name(FeaturesConfigName))
	if err != nil {
		return nil, err
	}
	c.Leases = &api.Leases{Table: table, Waiting: s.waiting, Off: off("leases", features.Leases)}
	c.Services = services
	c.Resources = &api.Resources{Table: resources, Off: off("resources", features.Resources)}
	c.Changes = &api.Changes{Table: changes, Others: len(s.config.Agent.Tables) > 0, Off: off("changes", features.Changes)}
	c.Webhooks = s.webhookService(hooks, off("webhooks", features.Webhooks))
	c.Visitors = &s.visitors
	server, err := api.New(c)
	if err != nil {
		return nil, err
	}
	end := s.Present.set(func(p *parts) { p.server = server }, func(p *parts) { p.server = nil })
	w := keep(func() error {
		end()
		// The listeners wait for what is open: a client's stream ends only when
		// its server does. Calls that take longer are the listeners' to cut.
		ctx, cancel := context.WithTimeout(context.Background(), serverTimeout)
		defer cancel()
		if err := server.Drain(ctx); err != nil {
			s.logger("api").Warningf("the API stops: %v", err)
		}
		return nil
	}, s.reportAPI)
	return own(give(w, server), patience, s.overstayed(APIName)), nil
}

// reportAPI says what a drain waits for.
func (s *Set) reportAPI() map[string]any {
	if step := s.Present.now().step; step != "" {
		return map[string]any{api.KeyDrain: step}
	}
	return nil
}

// waiting counts the claims that wait for a key, where this agent leads.
func (s *Set) waiting(k interrex.Key) (n int, known bool) {
	applier := s.Present.now().applier
	if applier == nil || applier.ReadyTerm() == 0 {
		return 0, false
	}
	return applier.Waiting(k), true
}

// serverTimeout bounds the wait for open calls of an API that is restarted or
// stopped without a drain before it.
const serverTimeout = time.Second

// forward returns the way to another agent.
func (s *Set) forward(_ context.Context, id string) (api.Forwarder, error) {
	f := s.Present.now().forwarder
	if f == nil {
		return nil, interrex.Errorf(interrex.KindUnavailable, "cannot forward to %s: the transport is not running", id)
	}
	return f.to(id)
}
