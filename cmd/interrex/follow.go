package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
)

// watched is a watch of any table.
type watched[E any] interface {
	Next(context.Context) (E, error)
	Disconnected() (since time.Time, why error)
	Close() error
}

// follow prints what w delivers, in a table below the header, and closes w.
func follow[E any](ctx context.Context, a *app, w watched[E], header []string, print func(E) error) error {
	// The command ends with the watch, and every event that it got is printed.
	defer func() { _ = w.Close() }()
	defer a.sayDisconnected(ctx, w)()
	headed := a.output != "table" || a.noHeaders || a.quiet
	for {
		e, err := w.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if !headed {
			if err := a.columns(header...); err != nil {
				return err
			}
			headed = true
		}
		if err := print(e); err != nil {
			return err
		}
	}
}

// A watch that no agent serves says so after firstSilence, and checks every
// nextSilence whether that has changed.
const (
	firstSilence = 2 * time.Second
	nextSilence  = 200 * time.Millisecond
)

// sayDisconnected says on standard error that no agent serves the watch, and why,
// until the returned function is called.
func (a *app) sayDisconnected(ctx context.Context, w interface {
	Disconnected() (since time.Time, why error)
}) func() {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(nextSilence)
		defer tick.Stop()
		for said := ""; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			since, why := w.Disconnected()
			switch {
			case since.IsZero() && said != "":
				a.say("connected: the watch continues")
				said = ""
			case !since.IsZero() && time.Since(since) >= firstSilence && why.Error() != said:
				a.say("waiting for an agent: %s", unreachable(why))
				said = why.Error()
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// unreachable says why no agent can be reached, with a hint at the likeliest reason.
func unreachable(why error) string {
	text := strings.TrimPrefix(why.Error(), string(interrex.ErrUnavailable)+": ")
	if errors.Is(why, syscall.ECONNREFUSED) || errors.Is(why, fs.ErrNotExist) {
		text += "; is an agent running?"
	}
	return text
}

// printEvent prints one event of a watch: as a row, as JSON on one line, as a
// document of YAML, or its name, if it has one.
func (a *app) printEvent(document any, name string, cells ...string) error {
	switch {
	case a.quiet || a.output == "name":
		if name == "" {
			return nil
		}
		return a.line(limits.Escaped(name, ""))
	case a.output == "json":
		text, err := jsonOf(document)
		if err != nil {
			return err
		}
		return a.line(string(text))
	case a.output == "yaml":
		if err := a.line("---"); err != nil {
			return err
		}
		return a.yaml(document)
	}
	return a.columns(cells...)
}
