package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newChangeGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "get REVISION",
		Short:   "Show a change",
		Example: `  interrex change get 17 -o json`,
		Args:    arguments(1, "REVISION"),
		RunE: func(c *cobra.Command, args []string) error {
			revision, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("REVISION: %q is not a number", args[0])}
			}
			return a.changes(c, 0, func(ctx context.Context, changes interrex.Changes) error {
				found, err := changes.Get(ctx, interrex.Revision(revision))
				if err != nil {
					return err
				}
				return a.printChange(found)
			})
		},
	}
}
