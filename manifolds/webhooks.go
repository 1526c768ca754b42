package manifolds

import (
	"context"
	"fmt"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/alarm"
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

// skippedShown is how long it is an alarm that a webhook was not told of something.
const skippedShown = time.Hour

// startHookCaller makes the calls of webhooks, while they are switched on. Every
// agent has one: any may be asked to test a webhook, and any may lead.
func (s *Set) startHookCaller(u *unit) (worker.Worker, error) {
	now, id := need[clock.Clock](u, ClockName), need[datadir.Identity](u, IdentityName)
	on, slot := need[config.Switch](u, WebhooksConfigName), need[offerer[*hookcaller.Caller]](u, HookCallerSlotName)
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

// startWebhooks tells webhooks what has happened, where this agent leads.
func (s *Set) startWebhooks(u *unit) (worker.Worker, error) {
	c := hookcaller.WorkerConfig{
		Logger: s.logger("webhooks"), Data: need[*apiserver.Server](u, APIName).Data,
		Caller: need[*hookcaller.Caller](u, HookCallerName), Clock: need[clock.Clock](u, ClockName),
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

// webhookService is WebhookService of this agent.
func (s *Set) webhookService(table *webhook.Table, caller handle[*hookcaller.Caller]) *services.Webhooks {
	w := &services.Webhooks{Table: table, Health: s.webhookHealth}
	w.Ask = func(hooks []*webhook.Hook, q hookcaller.Question) (func(context.Context) error, error) {
		c, is := caller.now()
		if !is {
			err := interrex.Errorf(interrex.KindUnavailable, "cannot ask the webhooks: they are not called here yet; nothing has happened, try again")
			err.RetryAfter = restartGrace / 10
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
			return interrex.WebhookTest{Error: "webhooks are not called here yet: try again", Agent: s.ID()}
		}
		return c.Test(ctx, h)
	}
	return w
}

// webhookHealth is how the calls of a hook go, where this agent leads.
func (s *Set) webhookHealth(h *webhook.Hook) *interrex.WebhookHealth {
	now := s.view()
	if now.hooks == nil || !s.Leadership.Current().Leader {
		return nil
	}
	health := now.hooks.Health(h)
	return &health
}

func (s *Set) webhookFailing(time.Time) (found []alarm.Finding) {
	now := s.view()
	if now.webhooks == nil || !now.readable() {
		return nil
	}
	for _, h := range now.webhooks.Hooks() {
		health := s.webhookHealth(h)
		if health == nil || health.Breaker == hookcaller.Closed {
			continue
		}
		what := "its operations are refused"
		switch {
		case h.When == interrex.WebhookAfter:
			what = "its events wait"
		case h.OnFailure == interrex.WebhookAllow || h.DryRun:
			what = "its operations go on without it"
		}
		found = append(found, alarm.Finding{Subject: h.Name, Since: health.Since,
			Text: fmt.Sprintf("%s in a row, the last: %s; %s", plural(health.Failures, "failure"), health.Error, what)})
	}
	return found
}

func (s *Set) webhookSkipped(at time.Time) (found []alarm.Finding) {
	w := running[*hookcaller.Worker](s, WebhooksName)
	if w == nil {
		return nil
	}
	for _, p := range w.Progress() {
		if !p.SkippedAt.IsZero() && at.Sub(p.SkippedAt) < skippedShown {
			found = append(found, alarm.Finding{Subject: p.Hook.Name, Since: p.SkippedAt,
				Text: fmt.Sprintf("it was not told of revisions %d to %d, which were no longer kept", p.SkippedFrom, p.SkippedTo)})
		}
	}
	return found
}
