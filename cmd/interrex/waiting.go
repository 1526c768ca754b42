package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// A command that waits first says for what after firstLook, and then looks every
// nextLook whether that has changed. A look has lookTimeout.
const (
	firstLook   = 500 * time.Millisecond
	nextLook    = 5 * time.Second
	lookTimeout = time.Second
)

// look says what a command waits for; what tells one such fact from the next.
type look func(context.Context, session) (what, text string)

// tell says on standard error what the command waits for, until the returned
// function is called. It looks over connections of its own.
func (s session) tell(ctx context.Context, look look) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		said := ""
		for delay := firstLook; ; delay = nextLook {
			select {
			case <-ctx.Done():
				return
			case <-time.After(delay):
			}
			what, text := s.look(ctx, look)
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

// look looks once.
func (s session) look(ctx context.Context, look look) (what, text string) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	config := s.app.clientConfig()
	config.OneShot = true
	c, err := client.Dial(ctx, config)
	if err != nil {
		return "", ""
	}
	// A look changes nothing, and leaves nothing behind.
	defer func() { _ = c.Close() }()
	return look(ctx, session{app: s.app, client: c, leases: c.Leases()})
}

// lookAtAgents says why no agent can answer, or else that one should.
func lookAtAgents(ctx context.Context, s session) (what, text string) {
	text = hindrance(ctx, s)
	if text == "" {
		text = "an answer"
	}
	return text, text
}

// hindrance says why no agent can answer; "" when one knows a leader, or cannot be
// asked.
func hindrance(ctx context.Context, s session) string {
	m, err := s.client.Status(ctx)
	if text := unasked(err); text != "" {
		return text
	}
	if err == nil && m.GetLeaderId() == "" {
		return "a leader: agent " + m.GetId() + " says: " + m.GetQuorum()
	}
	return ""
}

// unasked says why no agent could be asked, of the error of asking; "" when one
// could.
func unasked(err error) string {
	var e *interrex.Error
	if errors.As(err, &e) && (e.Kind == interrex.KindUnavailable || e.Kind == interrex.KindTimeout) {
		return "an agent: " + e.Message
	}
	return ""
}

// lookAtLease says who holds the lease that a command waits for, and for how
// long.
func lookAtLease(key interrex.Key) look {
	return func(ctx context.Context, s session) (what, text string) {
		if text = hindrance(ctx, s); text != "" {
			return text, text
		}
		l, _, err := s.leases.Get(ctx, key, interrex.ReadOptions{Consistency: interrex.Eventual})
		switch {
		case interrex.KindOf(err) == interrex.KindNotFound:
			return "", ""
		case err != nil:
			return string(interrex.KindOf(err)), key.String() + ": " + err.Error()
		}
		return l.Token.String(), key.String() + ": held by " + l.Holder + " " + sinceWhen(l) + ", " + forHowLong(l)
	}
}

func sinceWhen(l interrex.Lease) string {
	return "for " + interrex.FormatDuration(time.Since(l.AcquiredAt).Round(time.Second))
}

func forHowLong(l interrex.Lease) string {
	if l.Pinned() {
		return "and pinned by " + pinOwners(l)
	}
	return "and for another " + interrex.FormatDuration(l.Remaining) + " unless it is extended"
}
