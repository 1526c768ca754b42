package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// The agent to contact by default: at the socket if it exists, else at the address.
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
	return a.within(ctx, limit, probeAgents, do)
}

// within is like with, for a command that waits for what probe returns.
func (a *app) within(ctx context.Context, limit time.Duration, probe probe, do func(context.Context, session) error) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := a.dial(bounded, true, func(s session) error {
		defer s.sayWaiting(bounded, probe)()
		return do(bounded, s)
	})
	return a.interrupted(ctx, a.repeatable(err))
}

// withLong runs a command that continues until ctx ends.
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
	// All answers have arrived: an error of Close changes nothing.
	defer func() { _ = c.Close() }()
	return do(session{app: a, client: c, leases: c.Leases()})
}

// clientConfig returns the client's configuration: flags override the environment,
// which overrides the defaults.
func (a *app) clientConfig() client.Config {
	addresses := cmp.Or(a.addr, os.Getenv("INTERREX_ADDR"))
	if addresses == "" {
		addresses = defaultAddress
		if _, err := os.Stat(defaultSocket); err == nil {
			addresses = "unix://" + defaultSocket
		}
	}
	file, token := os.Getenv("INTERREX_TOKEN_FILE"), os.Getenv("INTERREX_TOKEN")
	if file != "" {
		token = "" // the file is the more particular
	}
	return client.Config{
		Addresses: strings.Split(strings.ReplaceAll(addresses, " ", ""), ","),
		TLS: client.TLSFiles{
			CA:   os.Getenv("INTERREX_CACERT"),
			Cert: os.Getenv("INTERREX_CERT"),
			Key:  os.Getenv("INTERREX_KEY"),
		},
		TokenFile: file, Token: token,
		Timeout: a.timeout,
		Logger:  clientLogger{a},
	}
}

// clientLogger prints on standard error what a client logs about the leases that it holds.
type clientLogger struct{ *app }

// Criticalf implements interrex.Logger.
func (t clientLogger) Criticalf(format string, args ...any) { t.say("interrex: "+format, args...) }

// Errorf implements interrex.Logger.
func (t clientLogger) Errorf(format string, args ...any) { t.say("interrex: "+format, args...) }

// Warningf implements interrex.Logger.
func (t clientLogger) Warningf(format string, args ...any) { t.say("interrex: "+format, args...) }

// Infof implements interrex.Logger.
func (t clientLogger) Infof(format string, args ...any) { t.say("interrex: "+format, args...) }

// Debugf implements interrex.Logger.
func (clientLogger) Debugf(string, ...any) {}
