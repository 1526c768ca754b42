package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "The cluster on one screen, as one agent sees it",
		Example: `  interrex status --addr http://127.0.0.1:7410`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				m, err := s.client.Status(ctx)
				if err != nil {
					return err
				}
				return a.print(m, statusTable(m), m.GetId())
			})
		},
	}
}

func statusTable(m *interrexv1.StatusResponse) table {
	t := table{rows: [][]string{
		{"agent", m.GetId() + ", " + m.GetState() + ready(m)},
		{"cluster", orDefault(m.GetClusterId(), "none yet") + fmt.Sprintf(", epoch %d", m.GetEpoch())},
		{"quorum", m.GetQuorum()},
		{"leader", orDefault(m.GetLeaderId(), "none known") + at(m.GetLeaderAddress()) + fmt.Sprintf(", term %d", m.GetTerm())},
		{"revision", fmt.Sprintf("%d (log index %d applied, %d committed)", m.GetRevision(), m.GetAppliedIndex(), m.GetCommitIndex())},
		{"leases", fmt.Sprint(m.GetLeases())},
		{"version", fmt.Sprintf("%s, up %s", m.GetVersion(), interrex.FormatDuration(m.GetUptime().AsDuration().Round(time.Second)))},
		{"alarms", orDefault(strings.Join(m.GetAlarms(), "; "), "none")},
	}}
	for _, member := range m.GetMembers() {
		line := member.GetSuffrage()
		if member.GetLeader() {
			line += ", leader"
		}
		if member.GetLastContact() != nil {
			line += ", answered " + interrex.FormatDuration(member.GetLastContact().AsDuration()) + " ago"
		}
		t.rows = append(t.rows, []string{"member " + member.GetId(), line + at(member.GetAddress())})
	}
	return t
}

func ready(m *interrexv1.StatusResponse) string {
	switch {
	case m.GetDraining():
		return ", draining"
	case m.GetReady():
		return ", ready"
	}
	return ", not ready"
}

func at(address string) string {
	if address == "" {
		return ""
	}
	return " at " + address
}
