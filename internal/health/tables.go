package health

import (
	"fmt"
	"time"

	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/fsm"
	"github.com/interrex/interrex/internal/hookcaller"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/listener"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/queue"
)

func (v View) halted() []alarm.Finding {
	if v.State != nil && v.State.Halted() != nil {
		return alarm.Found(v.State.Halted().Error())
	}
	return nil
}

func (v View) fsmHung() []alarm.Finding {
	if v.Machine == nil {
		return nil
	}
	busy := v.Machine.Busy()
	if busy < hungAfter {
		return nil
	}
	return []alarm.Finding{{Since: v.At.Add(-busy),
		Text: fmt.Sprintf("a call of the program's state machine has not returned for %s, and everything on this agent waits for it", wording.Rounded(busy.Truncate(time.Second)))}}
}

func (v View) fsmStopped() []alarm.Finding {
	if v.Machine == nil || v.Machine.Stopped() == nil {
		return nil
	}
	return alarm.Found(stopText("the program's state machine is stopped on this agent", v.Machine.Stopped()))
}

func (v View) fsmSnapshotFailed() []alarm.Finding {
	if v.Machine == nil || v.Machine.SnapshotFailed() == nil || v.Machine.Stopped() != nil {
		return nil
	}
	return alarm.Found(stopText("no snapshot can be made", v.Machine.SnapshotFailed()))
}

func stopText(what string, stop *fsm.Stop) string {
	return fmt.Sprintf("%s since %s: %s", what, stop.Since.UTC().Format(time.RFC3339), stop.Reason)
}

func (v View) limitNear() []alarm.Finding {
	var n nearness
	if v.readable() {
		v.tablesNear(&n)
	}
	if v.Queue != nil {
		normal, extend := v.Queue.Depth()
		n.note("queue", int64(max(normal, extend)), queue.Capacity)
	}
	if v.Requests != nil {
		u := v.Requests.Use()
		n.note("api.max-request-bytes", u.Used, u.Size)
		n.note("api.max-request-bytes of "+u.Most, u.Has, u.May)
	}
	if v.InFlight != nil {
		for kind, u := range v.InFlight.Uses {
			n.note(kind+" in flight", u.Used, u.Size)
			n.note(kind+" in flight of "+u.Most, u.Has, u.May)
		}
	}
	if v.Ring != nil {
		n.note("watchers", int64(v.Ring.Stats().Watchers), int64(v.Ring.MaxWatchers()))
	}
	if v.Connections != nil {
		n.note("connections", v.Connections.Open(), listener.DefaultMaxConnections)
	}
	if v.Caller != nil {
		n.note("webhook-calls", int64(v.Caller.Calls()), hookcaller.MaxCalls)
	}
	return n
}

// tablesNear notes the limits of the replicated state.
func (v View) tablesNear(n *nearness) {
	if v.State != nil {
		names, limit := v.State.Names()
		n.note("request-names", int64(names), int64(limit))
	}
	if v.Leases != nil {
		used := v.Leases.Usage()
		n.note("leases.max-count", used.Count, used.MaxCount)
		n.note("leases.max-bytes", used.Bytes, used.MaxBytes)
	}
	if v.Resources != nil {
		used := v.Resources.Usage()
		n.note("resources.max-count", used.Count, used.MaxCount)
		n.note("resources.max-bytes", used.Bytes, used.MaxBytes)
	}
	if v.Changes != nil {
		n.note("long-polls", int64(v.Changes.Waiting()), change.MaxWaiting)
	}
	if v.Webhooks != nil {
		n.note("webhooks", int64(len(v.Webhooks.Hooks())), limits.MaxWebhooks)
	}
	if v.Admitted != nil {
		n.note("members", int64(len(v.Admitted.Members())), member.MaxMembers)
		n.note("join-tokens", int64(len(v.Admitted.JoinTokens())), member.MaxJoinTokens)
	}
	if v.Access != nil {
		n.note("access-tokens", int64(len(v.Access.Tokens())), access.MaxTokens)
	}
}

// nearness are the limits that are nearly reached.
type nearness []alarm.Finding

func (n *nearness) note(what string, is, limit int64) {
	if float64(is) >= nearLimit*float64(limit) {
		*n = append(*n, alarm.Finding{Subject: what, Text: fmt.Sprintf("%d of %d", is, limit)})
	}
}

func (v View) projectionBehind() []alarm.Finding {
	if v.Notifier == nil {
		return nil
	}
	p := v.Notifier.Progress()
	if p.Failures > 0 || p.Lag == 0 || v.At.Sub(p.Fresh) < behindGrace {
		return nil
	}
	return []alarm.Finding{{Text: fmt.Sprintf("the table of lease holders is %s behind", wording.Count(p.Lag, "revision")), Since: p.Fresh}}
}

func (v View) projectionFailing() []alarm.Finding {
	if v.ProjectionDown != nil {
		return alarm.Found(v.ProjectionDown.Error())
	}
	if v.Notifier == nil {
		return nil
	}
	p := v.Notifier.Progress()
	if p.Failures == 0 {
		return nil
	}
	return []alarm.Finding{{Text: fmt.Sprintf("the table of lease holders is %s behind after %s: %v", wording.Count(p.Lag, "revision"), wording.Count(p.Failures, "failure"), p.Err), Since: p.Since}}
}
