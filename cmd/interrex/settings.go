package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

func newSettings(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "settings",
		Short: "Show and change the replicated limits, the same on every agent",
		Example: `  interrex settings get
  interrex settings set requests.record-age 30m`,
	})
	c.AddCommand(newSettingsGet(a), newSettingsSet(a))
	return c
}

// settingNames returns the names for completion.
func settingNames(ctx context.Context, s session) (names []string, err error) {
	all, _, err := s.client.Settings(ctx, interrex.ReadOptions{Consistency: interrex.Eventual})
	for _, v := range all {
		names = append(names, v.Name)
	}
	return names, err
}
