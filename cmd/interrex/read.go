package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

// readFlags are the flags of a read.
func readFlags(c *cobra.Command, o *interrex.ReadOptions, eventual *bool) {
	c.Flags().BoolVar(eventual, "eventual", false, "what this agent has now, which may lag (default: linearizable)")
	c.Flags().Uint64Var((*uint64)(&o.MinRevision), "min-revision", 0, "with --eventual: wait until this agent has this revision")
}

func consistency(eventual bool) interrex.Consistency {
	if eventual {
		return interrex.Eventual
	}
	return interrex.Strong
}

func newGet(a *app) *cobra.Command {
	var o interrex.ReadOptions
	var eventual bool
	c := &cobra.Command{
		Use:     "get KEY",
		Short:   "Show a lease",
		Example: `  interrex lease get db -o json`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := interrex.ParseKey(args[0])
			if err != nil {
				return err
			}
			o.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				l, _, err := s.leases.Get(ctx, key, o)
				if err != nil {
					return err
				}
				return a.printLease(l)
			})
		},
	}
	readFlags(c, &o, &eventual)
	return c
}

func newList(a *app) *cobra.Command {
	var r interrex.ListRequest
	var eventual bool
	c := &cobra.Command{
		Use:   "list [NAMESPACE|KEY]",
		Short: "List leases, in the order of their keys",
		Example: `  interrex lease list
  interrex lease list default/db                  one lease or none, as NAMESPACE/NAME
  interrex lease list mine --prefix nightly/`,
		Args: atMostOne("NAMESPACE or KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			var key interrex.Key
			var err error
			if r.Namespace, key, err = namespaceOrKey(args, r.Prefix); err != nil {
				return err
			}
			r.Consistency = consistency(eventual)
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				if key != (interrex.Key{}) {
					return a.listOne(ctx, s, key, r)
				}
				return a.list(ctx, s, r)
			})
		},
	}
	c.Flags().StringVar(&r.Prefix, "prefix", "", "only names with this prefix")
	readFlags(c, &r.ReadOptions, &eventual)
	return c
}

// namespaceOrKey reads the argument of a command about all leases, those of a
// namespace, or one.
func namespaceOrKey(args []string, prefix string) (namespace string, key interrex.Key, err error) {
	text := strings.Join(args, "")
	if !strings.Contains(text, "/") {
		return text, key, nil
	}
	if prefix != "" {
		return "", key, usageError{fmt.Errorf("--prefix is for the leases of a namespace, and %q is one lease: leave one of them out", text)}
	}
	key, err = interrex.ParseKey(text)
	return "", key, err
}

// listOne prints the lease of a key, if it is held, as a list. It is the first of
// those that begin with its name.
func (a *app) listOne(ctx context.Context, s session, key interrex.Key, r interrex.ListRequest) error {
	r.Namespace, r.Prefix, r.PageSize = key.Namespace, key.Name, 1
	page, err := s.leases.List(ctx, r)
	if err != nil {
		return err
	}
	others := func(l interrex.Lease) bool { return l.Key != key }
	return a.printLeases(slices.DeleteFunc(page.Items, others), page.Revision)
}

// list prints all pages as one.
func (a *app) list(ctx context.Context, s session, r interrex.ListRequest) error {
	var all []interrex.Lease
	for {
		page, err := s.leases.List(ctx, r)
		if err != nil {
			return err
		}
		all = append(all, page.Items...)
		if page.NextPageToken == "" {
			return a.printLeases(all, page.Revision)
		}
		r.PageToken = page.NextPageToken
	}
}

func newHistory(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "history KEY",
		Short:   "Who held a lease, under which token, and how it ended",
		Example: `  interrex lease history db`,
		Args:    arguments(1, "KEY"),
		RunE: func(c *cobra.Command, args []string) error {
			key, err := interrex.ParseKey(args[0])
			if err != nil {
				return err
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				items, revision, err := s.leases.History(ctx, key)
				if err != nil {
					return err
				}
				return a.printHistory(items, revision)
			})
		},
	}
}
