package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
)

// maxValue is more than the bytes of any value.
const maxValue = 1 << 20

func newKV(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "kv",
		Short: "Keys and values: resources of the type interrex.v1.Value",
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
	c.Flags().StringVar(to, "namespace", interrex.DefaultTenancy, "the namespace"+usage)
}

// completeValue completes a KEY.
func (a *app) completeValue(c *cobra.Command, args []string, begun string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	namespace, _ := c.Flags().GetString("namespace")
	ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
	defer cancel()
	_ = a.dial(ctx, true, func(s session) error { // a shell has no place for an error
		all, _, err := client.KV{By: s.client, Namespace: namespace}.List(ctx, begun, interrex.ReadOptions{Consistency: interrex.Eventual})
		for _, v := range all {
			found = append(found, v.Key)
		}
		return err
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}

func newKVGet(a *app) *cobra.Command {
	var namespace string
	var f freshness
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
			value, err := valueFrom(args[1:], file)
			if err != nil {
				return usageError{err}
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
	c.Flags().Var((*filled)(&version), "version", "only if this version is stored; 0: only if the key does not exist (default any)")
	c.Flags().StringVar(&file, "file", "", "read the value from this file; - is standard input")
	a.requestIDFlag(c)
	return c
}

// valueFrom reads the value that a command is given.
func valueFrom(args []string, file string) (b []byte, err error) {
	switch {
	case file != "":
		b, err = readFile(file, maxValue)
	case args[0] == "-":
		b, err = readFile("-", maxValue)
	default:
		return []byte(args[0]), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the value: %w", err)
	}
	return b, nil
}

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
				return usageError{errors.New("--prefix: neither KEY nor --version goes with it")}
			case !all && len(args) == 0:
				return usageError{errors.New("KEY is missing: name one, or give --prefix")}
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
	c.Flags().Var((*filled)(&version), "version", "only this version (default any)")
	c.Flags().StringVar(&prefix, "prefix", "", "all keys with this prefix")
	a.requestIDFlag(c)
	return c
}

func newKVList(a *app) *cobra.Command {
	var namespace string
	var f freshness
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

func newKVWatch(a *app) *cobra.Command {
	var namespace string
	var since interrex.Revision
	c := &cobra.Command{
		Use:   "watch [PREFIX]",
		Short: "Print changes of keys as they are committed",
		Example: `  interrex kv watch config/
  interrex kv watch --since 120 -o json`,
		Args: atMostOne("PREFIX"),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withLong(c.Context(), func(s session) error {
				w, err := client.KV{By: s.client, Namespace: namespace}.Watch(c.Context(), strings.Join(args, ""), since)
				if err != nil {
					return err
				}
				all := namespace == interrex.Wildcard
				return follow(c.Context(), a, w, valueEventHeader(all), func(e interrex.ResourceEvent) error { return a.valueEvent(e, all) })
			})
		},
	}
	namespaceFlag(c, &namespace, "; '*' for all")
	c.Flags().Uint64Var((*uint64)(&since), "since", 0, "after this revision (default: the current keys first)")
	return c
}
