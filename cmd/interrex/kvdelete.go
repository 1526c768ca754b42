package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/client"
)

func newKVDelete(a *app) *cobra.Command {
	var namespace, version, prefix string
	c := &cobra.Command{
		Use:   "delete KEY | --prefix P",
		Short: "Delete a key, or all keys with a prefix; a missing key is not an error",
		Example: `  interrex kv delete config/port
  interrex kv delete config/port --version 17      only this version
  interrex kv delete --prefix config/              atomically, at most 1 000`,
		Args:              atMostOne("KEY"),
		ValidArgsFunction: a.completeValue,
		RunE: func(c *cobra.Command, args []string) error {
			all := c.Flags().Changed("prefix")
			switch {
			case all && (len(args) > 0 || version != ""):
				return usageError{errors.New("--prefix does not go with KEY or --version: leave it or them out")}
			case !all && len(args) == 0:
				return usageError{errors.New("KEY is missing: give a key, or --prefix")}
			}
			return a.kv(c, namespace, func(ctx context.Context, kv client.KV) error {
				if all {
					n, err := kv.Clear(ctx, prefix, client.Options{})
					if err != nil {
						return err
					}
					return a.printCleared(n)
				}
				if err := kv.Delete(ctx, args[0], version, client.Options{}); err != nil {
					return err
				}
				return a.printDeleted(args[0])
			})
		},
	}
	namespaceFlag(c, &namespace, "")
	c.Flags().Var((*valueVersion)(&version), "version", "only this version (default any)")
	c.Flags().StringVar(&prefix, "prefix", "", "all keys with this prefix")
	a.requestIDFlag(c)
	return c
}

func (a *app) printDeleted(key string) error {
	document := struct {
		Key string `json:"key"`
	}{key}
	return a.print(document, table{header: []string{"DELETED"}, rows: [][]string{{key}}}, key)
}

// printCleared prints how many keys were deleted.
func (a *app) printCleared(n int) error {
	document := struct {
		Deleted int `json:"deleted"`
	}{n}
	return a.print(document, table{header: []string{"DELETED"}, rows: [][]string{{strconv.Itoa(n)}}}, strconv.Itoa(n))
}
