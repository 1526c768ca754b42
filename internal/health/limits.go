package health

import (
	"fmt"

	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/capacity"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/fairshare"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/queue"
)

// limit is a limit beyond which something is refused, and how much of it is used. Each has
// the metrics limit_used and limit_max, and an alarm before it is reached.
type limit struct {
	name       string // of its setting, where it is one
	caller     string // that uses most of its share; empty: the limit is that of all
	used, most int64
}

// limits returns the limits of the agent, and, where the tables can be read, of the
// replicated state.
func (v View) limits(readable bool) (all []limit) {
	add := func(name string, used, most int64) { all = append(all, limit{name, "", used, most}) }
	shared := func(name string, u fairshare.Use) {
		add(name, u.Used, u.Size)
		if u.Most != "" {
			all = append(all, limit{name, u.Most, u.Has, u.May})
		}
	}
	if readable {
		v.tableLimits(add)
	}
	if v.Queue != nil {
		normal, extend := v.Queue.Depth()
		add("queue", int64(max(normal, extend)), queue.Capacity)
	}
	if v.Requests != nil {
		shared("api.max-request-bytes", v.Requests.Use())
	}
	if v.InFlight != nil {
		for kind, u := range v.InFlight.Uses {
			shared(kind+"-in-flight", u)
		}
	}
	if v.Ring != nil {
		add("watchers", int64(v.Ring.Stats().Watchers), int64(v.Ring.MaxWatchers()))
	}
	if v.Connections != nil {
		add("connections", v.Connections.Open(), listener.DefaultMaxConnections)
	}
	if v.Caller != nil {
		add("webhook-calls", int64(v.Caller.Calls()), hookcaller.MaxCalls)
	}
	return all
}

// tableLimits adds the limits of the replicated state.
func (v View) tableLimits(add func(name string, used, most int64)) {
	both := func(count, bytes string, u capacity.Usage) {
		add(count, u.Count, u.MaxCount)
		add(bytes, u.Bytes, u.MaxBytes)
	}
	if v.State != nil {
		v.State.RequestLimits(add)
	}
	if v.Leases != nil {
		both("leases.max-count", "leases.max-bytes", v.Leases.Usage())
	}
	if v.Resources != nil {
		both("resources.max-count", "resources.max-bytes", v.Resources.Usage())
	}
	if v.Changes != nil {
		add("long-polls", int64(v.Changes.Waiting()), change.MaxWaiting)
	}
	if v.Webhooks != nil {
		add("webhooks", int64(len(v.Webhooks.Hooks())), limits.MaxWebhooks)
	}
	if v.Admitted != nil {
		add("members", int64(len(v.Admitted.Members())), member.MaxMembers)
		add("join-tokens", int64(len(v.Admitted.JoinTokens())), member.MaxJoinTokens)
	}
	if v.Access != nil {
		both("access-tokens", "access-token-bytes", v.Access.Usage())
	}
}

// limitNear finds the limits that are nearly reached.
func (v View) limitNear() (near []alarm.Finding) {
	for _, l := range v.limits(v.readable()) {
		if float64(l.used) >= nearLimit*float64(l.most) {
			subject := l.name
			if l.caller != "" {
				subject += " of " + l.caller
			}
			near = append(near, alarm.Finding{Subject: subject, Text: fmt.Sprintf("%d of %d", l.used, l.most)})
		}
	}
	return near
}
