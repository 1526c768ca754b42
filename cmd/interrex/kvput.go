package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/client"
)

func newKVPut(a *app) *cobra.Command {
	var namespace, version, file string
	c := &cobra.Command{
		Use:   "put KEY VALUE|-",
		Short: "Write a key unconditionally, or with --version",
		Example: `  interrex kv put config/port 8080
  interrex kv put config/port 8081 --version 17       only if that is stored
  interrex kv put config/port 8080 --version 0        only if it does not exist
  interrex kv put config/app --file app.yaml`,
		Args: func(c *cobra.Command, args []string) error {
			if file != "" {
				return arguments(1, "KEY")(c, args)
			}
			return arguments(2, "KEY VALUE")(c, args)
		},
		ValidArgsFunction: a.completeValue,
		RunE: func(c *cobra.Command, args []string) error {
			value, err := valueFrom(c.Context(), args[1:], file)
			if err != nil {
				return a.interrupted(c.Context(), usageError{err})
			}
			return a.kv(c, namespace, func(ctx context.Context, kv client.KV) error {
				v, err := kv.Put(ctx, args[0], value, version, client.Options{})
				if err != nil {
					return err
				}
				return a.printValue(v)
			})
		},
	}
	namespaceFlag(c, &namespace, "")
	c.Flags().Var((*valueVersion)(&version), "version", "only if this version is stored; 0: only if the key does not exist (default any)")
	c.Flags().StringVar(&file, "file", "", "read the value from this file; - is standard input")
	a.requestIDFlag(c)
	return c
}

// valueFrom reads the value from the arguments or a file.
func valueFrom(ctx context.Context, args []string, file string) (b []byte, err error) {
	switch {
	case file != "":
		b, err = readFile(ctx, file, maxValue)
	case args[0] == "-":
		b, err = readFile(ctx, "-", maxValue)
	default:
		return []byte(args[0]), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the value: %w", err)
	}
	return b, nil
}
