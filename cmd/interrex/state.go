package main

import "github.com/spf13/cobra"

func newState(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:     "state",
		Short:   "Compare the members' copies of the replicated state",
		Example: `  interrex state compare`,
	})
	c.AddCommand(newStateCompare(a))
	return c
}
