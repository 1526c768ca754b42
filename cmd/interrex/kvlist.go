package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

func newKVList(a *app) *cobra.Command {
	var namespace string
	var f consistencyFlags
	c := &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "List keys with their values, in order",
		Example: `  interrex kv list
  interrex kv list config/ -o name           only the keys`,
		Args: atMostOne("PREFIX"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.kv(c, namespace, func(ctx context.Context, kv client.KV) error {
				values, revision, err := kv.List(ctx, strings.Join(args, ""), f.read())
				if err != nil {
					return err
				}
				return a.printValues(values, namespace == interrex.Wildcard, revision)
			})
		},
	}
	namespaceFlag(c, &namespace, "; '*' for all")
	f.flags(c, "eventual")
	return c
}

// printValues prints a whole list, of one namespace or of all.
func (a *app) printValues(values []client.Value, all bool, revision interrex.Revision) error {
	list := listing{revision: revision}
	t := table{header: append(keyCells(all, "NAMESPACE", "KEY"), "VERSION", "VALUE")}
	var names []string
	for _, v := range values {
		list.items = append(list.items, documentOf(v))
		t.rows = append(t.rows, valueRow(all, v))
		names = append(names, v.Key)
	}
	return a.print(list, t, names...)
}
