package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// arguments requires n arguments, and an error names them.
func arguments(n int, names string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		wrong := ""
		switch {
		case len(args) == n:
			return nil
		case len(args) == 0:
			wrong = "which is missing"
		case len(args) < n:
			wrong = fmt.Sprintf("but only %q is given", strings.Join(args, " "))
		default:
			wrong = fmt.Sprintf("but %q is an extra argument", args[n])
		}
		return usageError{fmt.Errorf("%s takes %s, %s: see '%s --help'",
			strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" "), names, wrong, c.CommandPath())}
	}
}

// atLeastOne requires an argument or more.
func atLeastOne(names string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return nil
		}
		return arguments(1, names)(c, args)
	}
}

// atMostOne allows one argument or none.
func atMostOne(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) <= 1 {
			return nil
		}
		return arguments(1, "at most one "+name)(c, args)
	}
}

func oneOf(what, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usageError{fmt.Errorf("%s: %q is not one of %s", what, value, strings.Join(allowed, ", "))}
}
