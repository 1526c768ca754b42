package assembly

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
	"github.com/interrex/interrex/internal/unit"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
)

// noteTimeout bounds how long a drain waits until the webhooks' positions are in
// the log.
const noteTimeout = 2 * time.Second

// startHookCaller makes the calls of webhooks, while they are switched on. Every
// agent has one: any may be asked to test a webhook, and any may lead.
func (s *Set) startHookCaller(u *unit.Unit) (worker.Worker, error) {
	now, id := unit.Need[clock.Clock](u, ClockName), unit.Need[datadir.Identity](u, identityName)
	on, slot := unit.Need[config.Switch](u, webhooksConfigName), unit.Need[unit.Offerer[*hookcaller.Caller]](u, hookCallerSlotName)
	if u.Err == nil && !on.On() {
		u.Err = errOff
	}
	if u.Err != nil {
		return nil, u.Err
	}
	c, err := hookcaller.New(hookcaller.Config{
		Agent: id.ID, Version: s.config.Agent.Version, Clock: now, Logger: s.logger("webhooks"), Metrics: s.metrics.hooks,
	})
	if err != nil {
		return nil, err
	}
	u.After(c.Close)
	u.Give(c)
	slot.Offer(u, c)
	return nil, nil
}

// startWebhooks sends events to the webhooks that are called after them, where this
// agent leads.
func (s *Set) startWebhooks(u *unit.Unit) (worker.Worker, error) {
	c := hookcaller.WorkerConfig{
		Logger: s.logger("webhooks"), Data: unit.Need[*apiserver.Server](u, apiName).Data,
		Caller: unit.Need[*hookcaller.Caller](u, hookCallerName), Clock: unit.Need[clock.Clock](u, ClockName),
		Table: unit.Need[*webhook.Table](u, StateName), Ring: unit.Need[*watch.Ring](u, StateName),
		Queue: unit.Need[*queue.Queue](u, QueueName),
	}
	if u.Err != nil {
		return nil, u.Err
	}
	w, err := hookcaller.NewWorker(c)
	if err != nil {
		return nil, err
	}
	u.Give(w)
	return w, nil
}

// webhookService returns this agent's WebhookService.
func (s *Set) webhookService(table *webhook.Table, caller unit.Handle[*hookcaller.Caller]) *services.Webhooks {
	w := &services.Webhooks{Table: table, Health: func(h *webhook.Hook) *interrex.WebhookHealth { return s.view().Webhook(h) }}
	w.Ask = func(hooks []*webhook.Hook, q hookcaller.Question) (func(context.Context) error, error) {
		c, is := caller.Now()
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
		c, is := caller.Now()
		if !is {
			return interrex.WebhookTest{Error: "webhooks are not ready here yet: try again", Agent: s.ID()}
		}
		return c.Test(ctx, h)
	}
	return w
}
