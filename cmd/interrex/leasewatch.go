package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
)

func newWatch(a *app) *cobra.Command {
	var r interrex.WatchRequest
	c := &cobra.Command{
		Use:   "watch [NAMESPACE|KEY]",
		Short: "Print lease events as they are committed",
		Example: `  interrex lease watch
  interrex lease watch default/db                 one lease, as NAMESPACE/NAME
  interrex lease watch mine --prefix nightly/ --since 120 -o json`,
		Args: atMostOne("NAMESPACE or KEY"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if r.Namespace, r.Key, err = namespaceOrKey(args, r.Prefix); err != nil {
				return err
			}
			return a.withLong(c.Context(), func(s session) error { return a.watch(c.Context(), s, r) })
		},
	}
	c.Flags().StringVar(&r.Prefix, "prefix", "", "only names with this prefix")
	c.Flags().Uint64Var((*uint64)(&r.Since), "since", 0, "after this revision (default: the current leases first)")
	return c
}

// watch prints events until it is interrupted.
func (a *app) watch(ctx context.Context, s session, r interrex.WatchRequest) error {
	w, err := s.leases.Watch(ctx, r)
	if err != nil {
		return err
	}
	return follow(ctx, a, w, []string{"REVISION", "TIME", "KIND", "KEY", "HOLDER", "TOKEN"}, a.event)
}

// event prints one event of leases.
func (a *app) event(e interrex.LeaseEvent) error {
	begin := []string{e.Revision.String(), stamp(e.Time), e.Kind}
	if e.Kind == interrex.EndOfSnapshot {
		return a.printEvent(wire.LeaseEvent(e), "", begin...)
	}
	key := e.Lease.Key.String()
	return a.printEvent(wire.LeaseEvent(e), key, append(begin, key, e.Lease.Holder, e.Lease.Token.String())...)
}
