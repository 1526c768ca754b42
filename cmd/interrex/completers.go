package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/internal/limits"
)

// completeTimeout bounds how long a shell waits for the agent.
const completeTimeout = time.Second

// fixedFlag completes a flag of c with fixed values.
func fixedFlag(c *cobra.Command, name string, values ...string) {
	_ = c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// completeArgument completes the first argument with keys, namespaces or both,
// as an agent has them; what follows a KEY in lock is a command, which the shell
// completes itself.
func (a *app) completeArgument(keys, namespaces bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return a.complete(c.Context(), begun, keys, namespaces), cobra.ShellCompDirectiveNoFileComp
		case strings.Contains(c.Use, "COMMAND"):
			return nil, cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// complete returns the keys and namespaces that begin with begun: none if no agent
// responds in time.
func (a *app) complete(ctx context.Context, begun string, keys, namespaces bool) (found []string) {
	r := interrex.ListRequest{ReadOptions: interrex.ReadOptions{Consistency: interrex.Eventual}}
	if namespace, name, has := strings.Cut(begun, "/"); has {
		r.Namespace, r.Prefix = namespace, name
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	var items []interrex.Lease
	_ = a.dial(ctx, true, func(s session) error { // a shell cannot show an error
		page, err := s.leases.List(ctx, r)
		items = page.Items
		return err
	})
	offer := func(word string) {
		if strings.HasPrefix(word, begun) && !slices.Contains(found, word) {
			found = append(found, word)
		}
	}
	for _, l := range items {
		if namespaces {
			offer(l.Key.Namespace)
		}
		if keys {
			offer(l.Key.String())
		}
		if keys && !namespaces && l.Key.Namespace == limits.DefaultNamespace && !strings.Contains(l.Key.Name, "/") {
			offer(l.Key.Name)
		}
	}
	return found
}

// completeFirst completes the first argument with the names that names returns.
func (a *app) completeFirst(names func(context.Context, session) ([]string, error)) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) (found []string, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
		defer cancel()
		_ = a.dial(ctx, true, func(s session) (err error) { // a shell cannot show an error
			found, err = names(ctx, s)
			return err
		})
		return slices.DeleteFunc(found, func(name string) bool { return !strings.HasPrefix(name, begun) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeName completes the NAME of a resource of a TYPE, in the partition and
// namespace of the flags.
func (a *app) completeName(c *cobra.Command, args []string, begun string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) != 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var r interrex.ListResourcesRequest
	r.Type, _ = interrex.ParseResourceType(args[0])
	r.Tenancy.Partition, _ = c.Flags().GetString("partition")
	r.Tenancy.Namespace, _ = c.Flags().GetString("namespace")
	r.NamePrefix = begun
	ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
	defer cancel()
	_ = a.dial(ctx, true, func(s session) error { // a shell cannot show an error
		page, err := s.client.Resources().List(ctx, r)
		for _, item := range page.Items {
			found = append(found, item.ID.Name)
		}
		return err
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}

// completeValue completes a KEY.
func (a *app) completeValue(c *cobra.Command, args []string, begun string) (found []string, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	namespace, _ := c.Flags().GetString("namespace")
	ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
	defer cancel()
	_ = a.dial(ctx, true, func(s session) error { // a shell cannot show an error
		all, _, err := client.KV{By: s.client, Namespace: namespace}.List(ctx, begun, interrex.ReadOptions{Consistency: interrex.Eventual})
		for _, v := range all {
			found = append(found, v.Key)
		}
		return err
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}
