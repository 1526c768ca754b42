package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/limits"
)

// maxValue is an upper bound of the bytes of a value.
const maxValue = 1 << 20

func newKV(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "kv",
		Short: "Read, write and watch keys: resources of the type interrex.v1.Value",
		Example: `  interrex kv put config/port 8080
  interrex kv get config/port
  interrex kv list config/
  interrex kv watch config/ -o json
  interrex kv apply -f change.json`,
	})
	c.AddCommand(newKVGet(a), newKVPut(a), newKVDelete(a), newKVApply(a), newKVList(a), newKVWatch(a))
	return c
}

// kv runs one command about keys.
func (a *app) kv(c *cobra.Command, namespace string, do func(context.Context, client.KV) error) error {
	return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
		return do(ctx, client.KV{By: s.client, Namespace: namespace})
	})
}

func namespaceFlag(c *cobra.Command, to *string, usage string) {
	c.Flags().StringVar(to, "namespace", limits.DefaultNamespace, "the namespace"+usage)
}
