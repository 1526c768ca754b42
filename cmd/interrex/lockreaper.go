package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/execution"
)

// newReaper is the hidden command that lock starts as its second process.
func newReaper() *cobra.Command {
	return &cobra.Command{
		Use:    execution.ReaperName,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(*cobra.Command, []string) error { return execution.Serve(os.Stdin, os.Stdout) },
	}
}
