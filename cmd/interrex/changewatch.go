package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newChangeWatch(a *app) *cobra.Command {
	var r interrex.WatchChangesRequest
	c := &cobra.Command{
		Use:   "watch",
		Short: "Print changes as they are committed",
		Example: `  interrex change watch
  interrex change watch --since 120 --kind user -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withLong(c.Context(), func(s session) error { return a.watchChanges(c.Context(), s, r) })
		},
	}
	filterFlags(c, &r.ChangeFilter)
	c.Flags().Uint64Var((*uint64)(&r.Since), "since", 0, "after this revision (default: from the oldest that is kept)")
	return c
}

// watchChanges prints changes until it is interrupted.
func (a *app) watchChanges(ctx context.Context, s session, r interrex.WatchChangesRequest) error {
	w, err := s.client.Changes().Watch(ctx, r)
	if err != nil {
		return err
	}
	return follow(ctx, a, w, changeHeader, a.changeEvent)
}

// changeEvent prints one change of a watch.
func (a *app) changeEvent(one interrex.Change) error {
	return a.printEvent(documentOfChange(one), one.Revision.String(), changeRow(one)...)
}
