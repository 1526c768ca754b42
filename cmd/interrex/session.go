package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// Whom to ask when nobody says it: the socket if it is there.
const (
	defaultSocket  = "/var/lib/interrex/interrex.sock"
	defaultAddress = "http://127.0.0.1:7400"
)

// session is one connection to the agents.
type session struct {
	app    *app
	client *client.Client
	leases interrex.Leases
}

// with runs one command of one or two requests, bounded by limit.
func (a *app) with(ctx context.Context, limit time.Duration, do func(context.Context, session) error) error {
	return a.within(ctx, limit, lookAtAgents, do)
}

// within is with for a command that waits for what look says.
func (a *app) within(ctx context.Context, limit time.Duration, look look, do func(context.Context, session) error) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := a.dial(bounded, true, func(s session) error {
		defer s.tell(bounded, look)()
		return do(bounded, s)
	})
	return a.interrupted(ctx, a.repeatable(err))
}

// withLong runs a command that stays, until ctx ends.
func (a *app) withLong(ctx context.Context, do func(session) error) error {
	return a.dial(ctx, false, do)
}

func (a *app) dial(ctx context.Context, oneShot bool, do func(session) error) error {
	config := a.clientConfig()
	if (config.TLS.Cert == "") != (config.TLS.Key == "") {
		return usageError{errors.New("INTERREX_CERT and INTERREX_KEY go together: set both, or neither")}
	}
	config.OneShot = oneShot
	if oneShot {
		config.RequestID = a.requestID
	}
	c, err := client.Dial(ctx, config)
	if err != nil {
		return err
	}
	// What was asked has been answered: a failing goodbye changes nothing.
	defer func() { _ = c.Close() }()
	return do(session{app: a, client: c, leases: c.Leases()})
}

// clientConfig is flags above environment above default.
func (a *app) clientConfig() client.Config {
	addresses := cmp.Or(a.addr, os.Getenv("INTERREX_ADDR"))
	if addresses == "" {
		addresses = defaultAddress
		if _, err := os.Stat(defaultSocket); err == nil {
			addresses = "unix://" + defaultSocket
		}
	}
	return client.Config{
		Addresses: strings.Split(strings.ReplaceAll(addresses, " ", ""), ","),
		TLS: client.TLSFiles{
			CA:   os.Getenv("INTERREX_CACERT"),
			Cert: os.Getenv("INTERREX_CERT"),
			Key:  os.Getenv("INTERREX_KEY"),
		},
		Timeout: a.timeout,
		Logger:  talker{a},
	}
}

// talker says on standard error what a client has to say about the leases that it
// holds.
type talker struct{ *app }

// Criticalf implements interrex.Logger.
func (t talker) Criticalf(format string, args ...any) { t.say("interrex: "+format, args...) }

// Errorf implements interrex.Logger.
func (t talker) Errorf(format string, args ...any) { t.say("interrex: "+format, args...) }

// Warningf implements interrex.Logger.
func (t talker) Warningf(format string, args ...any) { t.say("interrex: "+format, args...) }

// Infof implements interrex.Logger.
func (t talker) Infof(format string, args ...any) { t.say("interrex: "+format, args...) }

// Debugf implements interrex.Logger.
func (talker) Debugf(string, ...any) {}

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
