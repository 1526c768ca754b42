package health

import (
	"errors"
	"fmt"

	"github.com/interrex/interrex/internal/alarm"
)

// forwarding says in words what becomes of the requests at an agent without raft.
func (v View) forwarding() string {
	switch {
	case v.Waits != "":
		return v.waits()
	case v.Gateway == nil:
		return "runs without raft, and requests cannot be forwarded: see 'interrex agent report'"
	}
	return v.Gateway.Words()
}

// notForwarded says why requests cannot be forwarded; nil: they can.
func (v View) notForwarded() error {
	if v.Gateway == nil {
		return errors.New(v.forwarding())
	}
	_, err := v.Gateway.Failed()
	return err
}

// forwardDown is for an agent without raft that reaches no member.
func (v View) forwardDown() []alarm.Finding {
	if !v.Forwards || v.Gateway == nil {
		return nil // a worker that fails has an alarm of its own
	}
	since, err := v.Gateway.Failed()
	if err == nil {
		return nil
	}
	return []alarm.Finding{{Text: err.Error(), Since: since}}
}

// leaderless is for an agent without raft whose member knows no leader, and that knows no
// other member that does.
func (v View) leaderless() []alarm.Finding {
	if v.Gateway == nil {
		return nil
	}
	since, id := v.Gateway.Leaderless()
	if since.IsZero() {
		return nil
	}
	return []alarm.Finding{{Since: since, Text: fmt.Sprintf("requests are forwarded to %s, which knows of no leader, and no other member is reached that knows one", id)}}
}
