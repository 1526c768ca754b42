package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
)

// atFlag adds --at; readAt reads it.
func atFlag(c *cobra.Command, text *string) {
	c.Flags().StringVar(text, "at", "", "as it was at this revision, or this time (such as 2026-01-31T12:00:00Z)")
}

// readAt sets what a list is of, and reports whether it is of the past.
func readAt(c *cobra.Command, text string, r *interrex.ListRequest) (bool, error) {
	if !c.Flags().Changed("at") {
		return false, nil
	}
	var err, other error
	if r.AtRevision, err = revisionOf(text); err == nil {
		return true, nil
	}
	if r.AtTime, other = time.Parse(time.RFC3339, text); other != nil || r.AtTime.IsZero() {
		return true, usageError{errors.New("--at: give a revision from 1, or a time such as 2026-01-31T12:00:00Z")}
	}
	return true, nil
}

// printPast prints leases as they were.
func (a *app) printPast(leases []interrex.Lease, revision interrex.Revision) error {
	return a.printAll(leases, revision, pastTable(leases))
}

func pastTable(leases []interrex.Lease) table {
	t := table{header: []string{"KEY", "HOLDER", "TOKEN", "ACQUIRED"}}
	for _, l := range leases {
		t.rows = append(t.rows, []string{l.Key.String(), l.Holder, l.Token.String(), stamp(l.AcquiredAt)})
	}
	return t
}
