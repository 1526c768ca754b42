package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// exitAlarm is the code of status when something is wrong.
const exitAlarm = exit(1)

func newStatus(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "status",
		Short: "The cluster on one screen, as one agent sees it",
		Long: `Shows the cluster on one screen, as one agent sees it: the quorum, the members,
for how long one has been silent or why one rejects another, and every alarm with
what to do about it.

The exit code is 1 if there is an alarm, or with --all if an agent does not
respond.`,
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
				if err := a.print(m, statusTable(m), m.GetId()); err != nil {
					return err
				}
				return alarmed(len(m.GetAlarms()) > 0)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "ask every member of the cluster")
	return c
}

func alarmed(is bool) error {
	if is {
		return exitAlarm
	}
	return nil
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
		{"version", m.GetVersion() + ", up " + upFor(m)},
	}}
	for _, member := range m.GetMembers() {
		t.rows = append(t.rows, []string{"member " + member.GetId(), memberLine(member) + at(member.GetAddress()) + lag(member, m.GetLastIndex())})
	}
	if len(m.GetAlarms()) == 0 {
		t.rows = append(t.rows, []string{"alarms", "none"})
	}
	t.rows = append(t.rows, alarmRows(m)...)
	return t
}

// few is how many entries are no lag: the newest entries of the log are often
// raft's own, which no state sees, or on their way.
const few = 16

// revisionLine says where the state stands.
func revisionLine(m *interrexv1.StatusResponse) string {
	switch {
	case m.GetAppliedIndex() == 0 && m.GetClusterId() != "":
		return "none yet: the log is applied once a leader has said what is committed"
	case m.GetCommitIndex() > m.GetAppliedIndex()+few:
		return fmt.Sprintf("%d at log index %d, %d entries behind", m.GetRevision(), m.GetAppliedIndex(), m.GetCommitIndex()-m.GetAppliedIndex())
	}
	return fmt.Sprintf("%d at log index %d", m.GetRevision(), m.GetAppliedIndex())
}

// logLine says what the log has.
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

// lag says how far a member is behind the last entry of the leader, where the
// leader is asked.
func lag(m *interrexv1.MemberStatus, last uint64) string {
	switch {
	case m.MatchIndex == nil || m.GetLeader() || m.GetRefusal() != "":
		return ""
	case m.GetMatchIndex() == 0:
		return ", its log is not known yet"
	case last > m.GetMatchIndex()+few:
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
	case m.GetRefusal() != "":
		line += ", NOT CONNECTED: " + m.GetRefusal()
	case contact == nil && m.GetSilent():
		line += ", SILENT, never heard from"
	case contact == nil:
	case m.GetSilent():
		line += ", SILENT for " + interrex.FormatDuration(contact.AsDuration())
	default:
		line += ", heard " + interrex.FormatDuration(contact.AsDuration()) + " ago"
	}
	return line
}

// alarmRows returns two rows for each alarm: what is wrong, and what to do.
func alarmRows(m *interrexv1.StatusResponse) (rows [][]string) {
	for _, a := range m.GetAlarms() {
		text := a.GetText()
		if a.GetSubject() != "" {
			text = a.GetSubject() + ": " + text
		}
		since := time.Since(a.GetSince().AsTime())
		rows = append(rows,
			[]string{"ALARM " + a.GetName(), text + ", for " + interrex.FormatDuration(since)},
			[]string{"  to do", a.GetDo()})
	}
	return rows
}

// agentStatus is what one agent says of itself, or why it says nothing.
type agentStatus struct {
	id, address string
	status      *interrexv1.StatusResponse
	err         error
}

// MarshalJSON returns the status, or {"id":...,"api_address":...,"error":...}.
func (s agentStatus) MarshalJSON() ([]byte, error) {
	if s.err != nil {
		return json.Marshal(map[string]string{"id": s.id, "api_address": s.address, "error": s.err.Error()})
	}
	return jsonOf(s.status)
}

// statusOfAll asks every member that the first answer names.
func (a *app) statusOfAll(ctx context.Context, first *interrexv1.StatusResponse) error {
	all := []agentStatus{{id: first.GetId(), status: first}}
	for _, m := range first.GetMembers() {
		if m.GetId() != first.GetId() {
			all = append(all, agentStatus{id: m.GetId(), address: m.GetApiAddress()})
		}
	}
	var asking sync.WaitGroup
	for i := range all[1:] {
		s := &all[1+i]
		asking.Go(func() {
			s.status, s.err = a.statusAt(ctx, s.address)
			if s.err == nil && (s.status.GetId() != s.id || strangers(s.status, first)) {
				s.err = fmt.Errorf("agent %[3]s of cluster %[4]s responds at %[1]s, the address that %[2]s announces: set api.listen or api.advertise of %[2]s to an address that can be reached from here",
					s.address, s.id, s.status.GetId(), cmp.Or(s.status.GetClusterId(), "none"))
			}
		})
	}
	asking.Wait()
	var names []string
	wrong := false
	for _, s := range all {
		names = append(names, s.id)
		wrong = wrong || s.err != nil || len(s.status.GetAlarms()) > 0
	}
	if err := a.print(map[string]any{"items": all}, tableOfAll(all), names...); err != nil {
		return err
	}
	return alarmed(wrong)
}

// strangers reports whether two agents know that they are in different clusters.
func strangers(a, b *interrexv1.StatusResponse) bool {
	return a.GetClusterId() != b.GetClusterId() && a.GetClusterId() != "" && b.GetClusterId() != ""
}

// oneAgent bounds the question to one of several agents, so that those that
// answer are shown.
const oneAgent = 3 * time.Second

func (a *app) statusAt(ctx context.Context, address string) (m *interrexv1.StatusResponse, err error) {
	var failed []error
	if address == "" {
		return nil, errors.New("it announces no API address that can be reached from here: see api.listen and api.advertise")
	}
	schemes := []string{"http://", "https://"}
	if os.Getenv("INTERREX_CACERT") != "" || strings.Contains(cmp.Or(a.addr, os.Getenv("INTERREX_ADDR")), "https://") {
		slices.Reverse(schemes)
	}
	// Each agent decides by itself whether its API speaks TLS.
	for _, scheme := range schemes {
		m, err = a.statusOf(ctx, scheme+address)
		if err == nil {
			return m, nil
		}
		failed = append(failed, err)
	}
	return nil, failed[0]
}

// statusOf asks the agent at one address, in oneAgent.
func (a *app) statusOf(ctx context.Context, address string) (m *interrexv1.StatusResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, oneAgent)
	defer cancel()
	there := *a
	there.addr = address
	err = there.dial(ctx, true, func(s session) error {
		m, err = s.client.Status(ctx)
		return err
	})
	return m, err
}

func tableOfAll(all []agentStatus) table {
	t := table{header: []string{"AGENT", "STATE", "LEADER", "TERM", "REVISION", "UP", "ALARMS"}}
	var alarms [][]string
	for _, s := range all {
		if s.err != nil {
			t.rows = append(t.rows, []string{s.id, "no response", "-", "-", "-", "-", "-"})
			alarms = append(alarms, []string{s.id, s.err.Error()})
			continue
		}
		m := s.status
		t.rows = append(t.rows, []string{
			s.id, m.GetState() + ready(m), cmp.Or(m.GetLeaderId(), "none"), fmt.Sprint(m.GetTerm()),
			fmt.Sprint(m.GetRevision()), upFor(m), fmt.Sprint(len(m.GetAlarms())),
		})
		for _, row := range alarmRows(m) {
			alarms = append(alarms, []string{s.id, strings.Join(row, ": ")})
		}
	}
	t.notes = alarms
	return t
}

func upFor(m *interrexv1.StatusResponse) string {
	return interrex.FormatDuration(m.GetUptime().AsDuration().Round(time.Second))
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
