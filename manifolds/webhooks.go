package manifolds

import (
	"context"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/services"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
)

// noteTimeout bounds how long a drain waits until the webhooks' positions are in
// the log.
const noteTimeout = 2 * time.Second

// startHookCaller makes the calls of webhooks, while they are switched on. Every
// agent has one: any may be asked to test a webhook, and any may lead.
func (s *Set) startHookCaller(u *unit) (worker.Worker, error) {
	now, id := need[clock.Clock](u, ClockName), need[datadir.Identity](u, identityName)
	on, slot := need[config.Switch](u, webhooksConfigName), need[offerer[*hookcaller.Caller]](u, hookCallerSlotName)
	if u.err == nil && !on.On() {
		u.err = errOff
	}
	if u.err != nil {
		return nil, u.err
	}
	c, err := hookcaller.New(hookcaller.Config{
		Agent: id.ID, Version: s.config.Agent.Version, Clock: now, Logger: s.logger("webhooks"), Metrics: s.metrics.hooks,
	})
	if err != nil {
		return nil, err
	}
	u.after(c.Close)
	u.give(c)
	slot.offer(u, c)
	return nil, nil
}

// startWebhooks sends events to the webhooks that are called after them, where this
// agent leads.
func (s *Set) startWebhooks(u *unit) (worker.Worker, error) {
	c := hookcaller.WorkerConfig{
		Logger: s.logger("webhooks"), Data: need[*apiserver.Server](u, apiName).Data,
		Caller: need[*hookcaller.Caller](u, hookCallerName), Clock: need[clock.Clock](u, ClockName),
		Table: need[*webhook.Table](u, StateName), Ring: need[*watch.Ring](u, StateName),
		Queue: need[*queue.Queue](u, QueueName),
	}
	if u.err != nil {
		return nil, u.err
	}
	w, err := hookcaller.NewWorker(c)
	if err != nil {
		return nil, err
	}
	u.give(w)
	return w, nil
}

// webhookService returns this agent's WebhookService.
func (s *Set) webhookService(table *webhook.Table, caller handle[*hookcaller.Caller]) *services.Webhooks {
	w := &services.Webhooks{Table: table, Health: func(h *webhook.Hook) *interrex.WebhookHealth { return s.view().Webhook(h) }}
	w.Ask = func(hooks []*webhook.Hook, q hookcaller.Question) (func(context.Context) error, error) {
		c, is := caller.now()
		if !is {
			err := interrex.Errorf(interrex.ErrUnavailable, "cannot call webhooks: they are not ready here yet; nothing has happened, try again")
			err.RetryAfter = 200 * time.Millisecond
			return nil, err
		}
		call, err := c.Ask(hooks, q)
		if err != nil {
			return nil, err
		}
		return call.Wait, nil
	}
	w.Test = func(ctx context.Context, h *webhook.Hook) interrex.WebhookTest {
		c, is := caller.now()
		if !is {
			return interrex.WebhookTest{Error: "webhooks are not ready here yet: try again", Agent: s.ID()}
		}
		return c.Test(ctx, h)
	}
	return w
}
