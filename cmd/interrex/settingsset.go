package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"
)

func newSettingsSet(a *app) *cobra.Command {
	var standard bool
	c := &cobra.Command{
		Use:   "set NAME (VALUE | --default)",
		Short: "Set a setting, on every agent",
		Example: `  interrex settings set requests.record-age 30m
  interrex settings set requests.record-age --default`,
		Args: func(c *cobra.Command, args []string) error {
			if standard {
				return arguments(1, "NAME")(c, args)
			}
			return arguments(2, "NAME and VALUE, or NAME and --default")(c, args)
		},
		ValidArgsFunction: a.completeFirst(settingNames),
		RunE: func(c *cobra.Command, args []string) error {
			value := strings.Join(args[1:], "")
			if value == "" && !standard {
				return usageError{errors.New("VALUE is empty: give a value, or --default")}
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				at, err := s.client.SetSettings(ctx, map[string]string{args[0]: value})
				if err != nil {
					return err
				}
				return a.done(map[string]any{"name": args[0], "revision": at.String()}, "%s is %s", args[0], cmp.Or(value, "back at its default"))
			})
		},
	}
	c.Flags().BoolVar(&standard, "default", false, "go back to the default")
	return c
}
