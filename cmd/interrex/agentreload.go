package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/gen/interrexv1"
)

func newReload(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "reload",
		Short:   "Make an agent read its configuration again",
		Long:    "Makes an agent read its configuration again, and prints the sections that have\nchanged: only their workers are restarted. The configuration is checked first:\nif anything is wrong, each problem is printed on its own line, the exit code is 2,\nand nothing changes.\n\n" + operatorLong,
		Example: `  interrex agent reload --addr unix:///var/lib/interrex/interrex.sock`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				changed, err := s.client.Reload(ctx)
				if err != nil {
					return err
				}
				t := table{rows: [][]string{{"changed: " + cmp.Or(strings.Join(changed, ", "), "nothing")}}}
				return a.print(&interrexv1.ReloadResponse{Changed: changed}, t, changed...)
			})
		},
	}
}
