package main

import (
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
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return a.dial(ctx, true, func(s session) error { return do(ctx, s) })
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
	addresses := orDefault(a.addr, os.Getenv("INTERREX_ADDR"))
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
	}
}

// A command that waits first says for whom after firstLook, and then looks
// every nextLook whether that has changed.
const (
	firstLook = 300 * time.Millisecond
	nextLook  = 5 * time.Second
)

// tellWhoHolds says on standard error who holds the lease that the command
// waits for, and for how long, until the returned function is called.
func (s session) tellWhoHolds(ctx context.Context, key interrex.Key) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		delay := firstLook
		for said := ""; ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(delay):
			}
			delay = nextLook
			what, text := s.lookAt(ctx, key)
			if ctx.Err() == nil && what != said {
				said = what
				s.app.say("waiting for %s: %s", key, text)
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// lookAt says who holds a lease; what tells one such fact from the next.
func (s session) lookAt(ctx context.Context, key interrex.Key) (what, text string) {
	ctx, cancel := context.WithTimeout(ctx, nextLook)
	defer cancel()
	l, _, err := s.leases.Get(ctx, key, interrex.ReadOptions{Consistency: interrex.Eventual})
	switch {
	case interrex.KindOf(err) == interrex.KindNotFound:
		return "", ""
	case err != nil:
		return string(interrex.KindOf(err)), err.Error()
	}
	return l.Token.String(), "held by " + l.Holder + " " + sinceWhen(l) + ", " + forHowLong(l)
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
