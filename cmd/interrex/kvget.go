package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/client"
)

func newKVGet(a *app) *cobra.Command {
	var namespace string
	var f consistencyFlags
	c := &cobra.Command{
		Use:   "get KEY",
		Short: "Print the value of a key",
		Example: `  interrex kv get config/port
  interrex kv get config/port -o json        with its version`,
		Args:              arguments(1, "KEY"),
		ValidArgsFunction: a.completeValue,
		RunE: func(c *cobra.Command, args []string) error {
			return a.kv(c, namespace, func(ctx context.Context, kv client.KV) error {
				v, err := kv.Get(ctx, args[0], f.read())
				if err != nil {
					return err
				}
				if a.output == "table" && !a.quiet {
					_, err := a.out.Write(v.Value)
					return err
				}
				return a.printValue(v)
			})
		},
	}
	namespaceFlag(c, &namespace, "")
	f.flags(c, "strong")
	return c
}
