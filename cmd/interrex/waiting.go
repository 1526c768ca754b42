package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/wording"
)

// A command that waits says for what after firstProbe, and checks every nextProbe
// whether that has changed. A probe takes at most probeTimeout.
const (
	firstProbe   = 500 * time.Millisecond
	nextProbe    = 5 * time.Second
	probeTimeout = time.Second
)

// probe returns what a command waits for, as text; it is printed again only when what
// has changed.
type probe func(context.Context, session) (what, text string)

// sayWaiting says on standard error what the command waits for, until the returned
// function is called.
func (s session) sayWaiting(ctx context.Context, probe probe) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		said := ""
		for delay := firstProbe; ; delay = nextProbe {
			select {
			case <-ctx.Done():
				return
			case <-time.After(delay):
			}
			what, text := s.probe(ctx, probe)
			if ctx.Err() == nil && what != said && what != "" {
				s.app.say("waiting for %s", text)
			}
			said = what
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// probe probes once, over a connection of its own.
func (s session) probe(ctx context.Context, probe probe) (what, text string) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	config := s.app.clientConfig()
	config.OneShot = true
	c, err := client.Dial(ctx, config)
	if err != nil {
		return "", ""
	}
	// A probe changes nothing: an error of Close does not matter.
	defer func() { _ = c.Close() }()
	return probe(ctx, session{app: s.app, client: c, leases: c.Leases()})
}

// probeAgents says why no agent can respond, or else that a response is due.
func probeAgents(ctx context.Context, s session) (what, text string) {
	text = whyNoResponse(ctx, s)
	if text == "" {
		text = "a response"
	}
	return text, text
}

// whyNoResponse says why no agent can respond; "" if one knows a leader, or its status
// cannot be read.
func whyNoResponse(ctx context.Context, s session) string {
	m, err := s.client.Status(ctx)
	if text := whyUnreachable(err); text != "" {
		return text
	}
	if err == nil && m.GetLeaderId() == "" {
		return "a leader: agent " + m.GetId() + " says: " + m.GetQuorum()
	}
	return ""
}

// whyUnreachable says why no agent could be reached, given the error of a request; "" if
// one was.
func whyUnreachable(err error) string {
	var e *interrex.Error
	if errors.As(err, &e) && (e.Kind == interrex.ErrUnavailable || e.Kind == interrex.ErrTimeout) {
		return "an agent: " + e.Message
	}
	return ""
}

// probeLease says who holds the lease that a command waits for, and for how
// long.
func probeLease(key interrex.Key) probe {
	return func(ctx context.Context, s session) (what, text string) {
		if text = whyNoResponse(ctx, s); text != "" {
			return text, text
		}
		l, _, err := s.leases.Get(ctx, key, interrex.ReadOptions{Consistency: interrex.Eventual})
		switch {
		case interrex.KindOf(err) == interrex.ErrNotFound:
			return "", ""
		case interrex.KindOf(err) == interrex.ErrDenied:
			return "denied", key.String() + ": it is held, and this access token may not read who holds it"
		case err != nil:
			return string(interrex.KindOf(err)), key.String() + ": " + err.Error()
		}
		return l.Token.String(), key.String() + ": held by " + l.Holder + " " + sinceWhen(l) + ", " + forHowLong(l)
	}
}

func sinceWhen(l interrex.Lease) string {
	return "for " + wording.Rounded(time.Since(l.AcquiredAt).Round(time.Second))
}

func forHowLong(l interrex.Lease) string {
	if l.Pinned() {
		return "and pinned by " + pinOwners(l)
	}
	return "and for another " + wording.Rounded(l.Remaining) + " unless it is extended"
}
