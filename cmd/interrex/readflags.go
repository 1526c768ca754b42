package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

// readFlags adds the flags of a read that is linearizable by default.
func readFlags(c *cobra.Command, o *interrex.ReadOptions, eventual *bool) {
	c.Flags().BoolVar(eventual, "eventual", false, "read what this agent has now, which may lag (default: linearizable)")
	c.Flags().Uint64Var((*uint64)(&o.MinRevision), "min-revision", 0, "with --eventual: wait until this agent has this revision")
}

func consistency(eventual bool) interrex.Consistency {
	if eventual {
		return interrex.Eventual
	}
	return interrex.Strong
}

// consistencyFlags holds the flags of a read of resources or keys.
type consistencyFlags struct {
	strong, eventual bool
	options          interrex.ReadOptions
}

func (f *consistencyFlags) flags(c *cobra.Command, standard string) {
	c.Flags().BoolVar(&f.strong, "strong", false, "read linearizably"+isDefault(standard == "strong"))
	c.Flags().BoolVar(&f.eventual, "eventual", false, "read what this agent has now, which may lag"+isDefault(standard == "eventual"))
	c.Flags().Uint64Var((*uint64)(&f.options.MinRevision), "min-revision", 0, "with --eventual: wait until this agent has this revision")
	c.PreRunE = func(*cobra.Command, []string) error {
		if f.strong && f.eventual {
			return usageError{errors.New("--strong and --eventual: leave one of them out")}
		}
		return nil
	}
}

func isDefault(is bool) string {
	if is {
		return " (the default)"
	}
	return ""
}

func (f *consistencyFlags) read() interrex.ReadOptions {
	o := f.options
	switch {
	case f.strong:
		o.Consistency = interrex.Strong
	case f.eventual:
		o.Consistency = interrex.Eventual
	}
	return o
}
