package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

func newWatch(a *app) *cobra.Command {
	var r interrex.WatchRequest
	c := &cobra.Command{
		Use:   "watch [NAMESPACE|KEY]",
		Short: "Print lease events as they are committed",
		Example: `  interrex lease watch
  interrex lease watch default/db                 one lease, as NAMESPACE/NAME
  interrex lease watch mine --prefix nightly/ --since 120 -o json`,
		Args: atMostOne("NAMESPACE or KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Namespace, r.Key, err = namespaceOrKey(args, r.Prefix); err != nil {
				return err
			}
			return a.withLong(c.Context(), func(s session) error { return a.watch(c.Context(), s, r) })
		},
	}
	c.Flags().StringVar(&r.Prefix, "prefix", "", "only names with this prefix")
	c.Flags().Uint64Var((*uint64)(&r.Since), "since", 0, "after this revision (default: the current leases first)")
	return c
}

// watch prints until the command is told to end.
func (a *app) watch(ctx context.Context, s session, r interrex.WatchRequest) error {
	w, err := s.leases.Watch(ctx, r)
	if err != nil {
		return err
	}
	return follow(ctx, a, w, []string{"REVISION", "TIME", "KIND", "KEY", "HOLDER", "TOKEN"}, a.event)
}

// watched is a watch of any table.
type watched[E any] interface {
	Next(context.Context) (E, error)
	Disconnected() (since time.Time, why error)
	Close() error
}

// follow prints what w delivers, in a table below the header, and closes w.
func follow[E any](ctx context.Context, a *app, w watched[E], header []string, print func(E) error) error {
	// The command ends with the watch: nothing is lost that was not printed.
	defer func() { _ = w.Close() }()
	defer a.tellConnection(ctx, w)()
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

// A watch that no agent serves says so after firstSilence, and then looks every
// nextSilence whether that has changed.
const (
	firstSilence = 2 * time.Second
	nextSilence  = 200 * time.Millisecond
)

// tellConnection says on standard error that no agent serves the watch, and why,
// until the returned function is called.
func (a *app) tellConnection(ctx context.Context, w interface {
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
				a.say("connected: the watch goes on")
				said = ""
			case !since.IsZero() && time.Since(since) >= firstSilence && why.Error() != said:
				a.say("waiting for an agent: %s", unreached(why))
				said = why.Error()
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

// unreached says why no agent is reached, and asks about the likeliest reason.
func unreached(why error) string {
	text := strings.TrimPrefix(why.Error(), string(interrex.KindUnavailable)+": ")
	if errors.Is(why, syscall.ECONNREFUSED) || errors.Is(why, fs.ErrNotExist) {
		text += "; is an agent running?"
	}
	return text
}

// event prints one event of leases.
func (a *app) event(e interrex.LeaseEvent) error {
	begin := []string{e.Revision.String(), stamp(e.Time), e.Kind}
	if e.Kind == interrex.EndOfSnapshot {
		return a.printEvent(wire.LeaseEvent(e), "", begin...)
	}
	key := e.Lease.Key.String()
	return a.printEvent(wire.LeaseEvent(e), key, append(begin, key, e.Lease.Holder, e.Lease.Token.String())...)
}

// printEvent prints one event of a watch: as a row, as JSON on one line, as a
// document of YAML, or its name, if it has one.
func (a *app) printEvent(document any, name string, cells ...string) error {
	switch {
	case a.quiet || a.output == "name":
		if name == "" {
			return nil
		}
		return a.line(name)
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

// columns prints one row by itself: a watch has no end at which all of them
// could be aligned.
func (a *app) columns(cells ...string) error {
	w := tabwriter.NewWriter(a.out, 22, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(cells, "\t"))
	return w.Flush()
}
