package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/apiserver"
	"github.com/interrex/interrex/internal/wording"
)

// exitUnwell is the exit code of status when an agent is not well.
const exitUnwell = exit(1)

func newStatus(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster on one screen, as one agent sees it",
		Long: `Shows the cluster on one screen, as one agent sees it: the quorum, the members,
for how long one has been silent or why one rejects another, and every alarm with
what to do about it.

The exit code is 1 if the agent is not ready or has an alarm; with --all, if that is so
of any member, or one does not respond.`,
		Example: `  interrex status
  interrex status --all
  interrex status --addr http://127.0.0.1:7410 -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				m, err := s.client.Status(ctx)
				if err != nil {
					return err
				}
				if all {
					return a.statusOfAll(ctx, m)
				}
				t := statusTable(m)
				t.rows = append(t.rows, featureRows(ctx, s)...)
				if err := a.print(m, t, m.GetId()); err != nil {
					return err
				}
				return unless(well(m))
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "query every member of the cluster")
	return c
}

// well reports whether an agent is ready and has no alarm.
func well(m *interrexv1.StatusResponse) bool {
	return m.GetReady() && len(m.GetAlarms()) == 0
}

// unless returns exitUnwell unless all is well.
func unless(well bool) error {
	if well {
		return nil
	}
	return exitUnwell
}

func statusTable(m *interrexv1.StatusResponse) table {
	t := table{rows: [][]string{
		{"agent", m.GetId() + ", " + m.GetState() + ready(m)},
		{"cluster", cmp.Or(m.GetClusterId(), "none yet") + fmt.Sprintf(", epoch %d", m.GetEpoch())},
		{"quorum", m.GetQuorum()},
		{"leader", cmp.Or(m.GetLeaderId(), "none known") + at(m.GetLeaderAddress()) + fmt.Sprintf(", term %d", m.GetTerm())},
		{"revision", revisionLine(m)},
		{"log", logLine(m)},
		{"leases", fmt.Sprint(m.GetLeases())},
		{"compared", comparisonLine(m.GetComparison())},
		{"version", cmp.Or(m.GetVersion(), "unknown") + ", up " + upFor(m)},
	}}
	if m.GetState() == interrex.Forwarding.String() { // it has no state
		t.rows = slices.DeleteFunc(t.rows, func(row []string) bool {
			return slices.Contains([]string{"revision", "log", "leases", "compared"}, row[0])
		})
	}
	for _, member := range m.GetMembers() {
		t.rows = append(t.rows, []string{"member " + member.GetId(), memberLine(member) + at(member.GetAddress()) + lag(member, m.GetLastIndex())})
	}
	if len(m.GetAlarms()) == 0 {
		t.rows = append(t.rows, []string{"alarms", "none"})
	}
	t.rows = append(t.rows, alarmRows(m)...)
	return t
}

// featureRows returns a row for the features that are off, if the agent reports it.
func featureRows(ctx context.Context, s session) [][]string {
	m, err := s.client.Report(ctx)
	if err != nil {
		return nil
	}
	var off []string
	for _, w := range m.GetWorkers() {
		for _, setting := range w.GetReport().GetFields()[apiserver.KeyOff].GetListValue().GetValues() {
			off = append(off, strings.TrimPrefix(setting.GetStringValue(), "features."))
		}
	}
	if len(off) == 0 {
		return nil
	}
	slices.Sort(off)
	return [][]string{{"features", strings.Join(off, ", ") + " off on this agent"}}
}

// noLag is how many entries do not count as lag: the newest entries of the log are
// often raft's own, which are not applied to the state, or in flight.
const noLag = 16

// revisionLine says how far the state is.
func revisionLine(m *interrexv1.StatusResponse) string {
	switch {
	case m.GetAppliedIndex() == 0 && m.GetClusterId() != "":
		return "none yet: the log is applied once a leader confirms what is committed"
	case m.GetCommitIndex() > m.GetAppliedIndex()+noLag:
		return fmt.Sprintf("%d at log index %d, %d entries behind", m.GetRevision(), m.GetAppliedIndex(), m.GetCommitIndex()-m.GetAppliedIndex())
	}
	return fmt.Sprintf("%d at log index %d", m.GetRevision(), m.GetAppliedIndex())
}

// logLine says which entries the log has.
func logLine(m *interrexv1.StatusResponse) string {
	switch {
	case m.GetLastIndex() > 0:
	case m.GetState() == interrex.Stopped.String(), m.GetState() == interrex.Stopping.String():
		return "unknown while raft is not running"
	default:
		return "empty"
	}
	kept := fmt.Sprintf("entries %d to %d", m.GetFirstIndex(), m.GetLastIndex())
	if m.GetFirstIndex() == 0 {
		kept = fmt.Sprintf("a snapshot up to entry %d", m.GetLastIndex())
	}
	return fmt.Sprintf("%s of term %d, committed up to %d, membership %s", kept, m.GetLastTerm(), m.GetCommitIndex(), m.GetMembership())
}

// lag says how far a member is behind the leader's last entry; only the leader knows.
func lag(m *interrexv1.MemberStatus, last uint64) string {
	switch {
	case m.MatchIndex == nil || m.GetLeader() || m.GetRefusal() != "":
		return ""
	case m.GetMatchIndex() == 0:
		return ", its log is not known yet"
	case last > m.GetMatchIndex()+noLag:
		return fmt.Sprintf(", %d entries behind", last-m.GetMatchIndex())
	}
	return ", up to date"
}

func memberLine(m *interrexv1.MemberStatus) string {
	line := m.GetSuffrage()
	if m.GetLeader() {
		line += ", leader"
	}
	switch contact := m.GetLastContact(); {
	case m.GetRefusal() != "" && contact != nil:
		line += ", NOT CONNECTED for " + wording.Rounded(contact.AsDuration()) + ": " + m.GetRefusal()
	case m.GetRefusal() != "":
		line += ", NOT CONNECTED: " + m.GetRefusal()
	case contact == nil && m.GetSilent():
		line += ", SILENT, never heard from"
	case contact == nil:
	case m.GetSilent():
		line += ", SILENT for " + wording.Rounded(contact.AsDuration())
	default:
		line += ", heard " + wording.Rounded(contact.AsDuration()) + " ago"
	}
	return line
}

// alarmRows returns two rows for each alarm: what is wrong, and what to do.
func alarmRows(m *interrexv1.StatusResponse) (rows [][]string) {
	for _, a := range m.GetAlarms() {
		text := "for " + wording.Rounded(time.Since(a.GetSince().AsTime())) + ": " + a.GetText()
		if a.GetSubject() != "" {
			text = a.GetSubject() + " " + text
		}
		rows = append(rows,
			[]string{"ALARM " + a.GetName(), text},
			[]string{"  to do", a.GetDo()})
	}
	return rows
}

func upFor(m *interrexv1.StatusResponse) string {
	return wording.Rounded(m.GetUptime().AsDuration().Round(time.Second))
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
