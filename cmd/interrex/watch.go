package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/wire"
)

func newWatch(a *app) *cobra.Command {
	var r interrex.WatchRequest
	c := &cobra.Command{
		Use:   "watch [NAMESPACE]",
		Short: "Print lease events as they are committed",
		Example: `  interrex lease watch
  interrex lease watch mine --prefix nightly/ --since 120 -o json`,
		Args: atMostOne("NAMESPACE"),
		RunE: func(c *cobra.Command, args []string) error {
			r.Namespace = strings.Join(args, "")
			return a.withLong(c.Context(), func(s session) error { return a.watch(c.Context(), s, r) })
		},
	}
	c.Flags().StringVar(&r.Prefix, "prefix", "", "of the name")
	c.Flags().Uint64Var((*uint64)(&r.Since), "since", 0, "after this revision (default: the present leases first)")
	return c
}

// watch prints until the command is told to end.
func (a *app) watch(ctx context.Context, s session, r interrex.WatchRequest) error {
	w, err := s.leases.Watch(ctx, r)
	if err != nil {
		return err
	}
	// The command ends with the watch: nothing is lost that was not printed.
	defer func() { _ = w.Close() }()
	if a.output == "table" && !a.noHeaders && !a.quiet {
		if err := a.columns("REVISION", "KIND", "KEY", "HOLDER", "TOKEN"); err != nil {
			return err
		}
	}
	for {
		e, err := w.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := a.event(e); err != nil {
			return err
		}
	}
}

// event prints one event, in JSON on one line.
func (a *app) event(e interrex.LeaseEvent) error {
	switch {
	case a.quiet || a.output == "name":
		if e.Kind == interrex.EndOfSnapshot {
			return nil
		}
		return a.line(e.Lease.Key.String())
	case a.output == "json":
		text, err := jsonOf(wire.LeaseEvent(e))
		if err != nil {
			return err
		}
		return a.line(string(text))
	case a.output == "yaml":
		if err := a.line("---"); err != nil {
			return err
		}
		return a.yaml(wire.LeaseEvent(e))
	case e.Kind == interrex.EndOfSnapshot:
		return a.columns(e.Revision.String(), e.Kind)
	}
	return a.columns(e.Revision.String(), e.Kind, e.Lease.Key.String(), e.Lease.Holder, e.Lease.Token.String())
}

// columns prints one row by itself: a watch has no end at which all of them
// could be aligned.
func (a *app) columns(cells ...string) error {
	w := tabwriter.NewWriter(a.out, 20, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(cells, "\t"))
	return w.Flush()
}
