package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/client"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/compare"
	"github.com/interrex/interrex/internal/wording"
)

// comparisonTime bounds the wait for the hashes of all members.
const comparisonTime = time.Minute

// exitDiffers is the exit code of state compare when states differ.
const exitDiffers = exit(1)

func newStateCompare(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "compare",
		Short: "Compare the members' states now, and show the hashes of each",
		Long: `Compares the members' copies of the replicated state as they are after one entry of the
log, shows the hashes of each, section by section, as one agent has received them, and
says whether they are equal. Members do this by themselves, too ('interrex status' shows
the last time). One that differs from a majority of the voters is filled anew by itself.
Members that do not respond within half a minute have no hashes.

The exit code is 1 if states differ. It is for operators.`,
		Example: `  interrex state compare
  interrex state compare -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			limit := comparisonTime
			if c.Flags().Changed("timeout") {
				limit = a.timeout
			}
			return a.with(c.Context(), limit, a.compareStates)
		},
	}
}

func (a *app) compareStates(ctx context.Context, s session) error {
	at, err := client.Call[interrexv1.CompareRequest, interrexv1.CompareResponse](ctx, s.client, interrexv1.StateServiceCompareProcedure, &interrexv1.CompareRequest{}, client.Options{})
	if err != nil {
		return err
	}
	m, err := compared(ctx, s, at.GetLogIndex())
	if err != nil {
		return fmt.Errorf("the states are compared at log index %d, but the result is not known: %w: see 'interrex status'", at.GetLogIndex(), err)
	}
	if err := a.print(m, comparisonTable(m), fmt.Sprint(m.GetLogIndex())); err != nil {
		return err
	}
	a.say("compared %s", comparisonLine(m))
	if len(m.GetDifferences()) > 0 {
		return exitDiffers
	}
	return nil
}

// compared waits for the result of a comparison at a log index, or of a later one. An
// agent that fills its state anew does not respond for a moment.
func compared(ctx context.Context, s session, index uint64) (*interrexv1.Comparison, error) {
	for {
		m, err := s.client.Status(ctx)
		if is := m.GetComparison(); err == nil && is.GetLogIndex() >= index && is.GetComplete() {
			return is, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(err, context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func comparisonTable(m *interrexv1.Comparison) table {
	t := table{header: []string{"AGENT", "SECTION", "VERSION", "HASH"}}
	for _, r := range m.GetReports() {
		for _, s := range r.GetSections() {
			t.rows = append(t.rows, []string{r.GetAgent(), s.GetName(), fmt.Sprint(s.GetVersion()), compare.Short(s.GetHash())})
		}
	}
	for _, id := range m.GetMissing() {
		t.rows = append(t.rows, []string{id, "-", "-", "no response"})
	}
	for _, text := range m.GetDifferences() {
		t.notes = append(t.notes, []string{"DIFFERS", text})
	}
	if m.GetKept() != "" {
		t.notes = append(t.notes, []string{"KEPT", "this agent is filled anew; its files from before are in " + m.GetKept()})
	}
	return t
}

// comparisonLine says what the newest comparison has found.
func comparisonLine(m *interrexv1.Comparison) string {
	switch {
	case m == nil:
		return "none since the agent was started"
	case !m.GetComplete():
		return fmt.Sprintf("under way, at log index %d", m.GetLogIndex())
	}
	text := fmt.Sprintf("at log index %d, %s ago: ", m.GetLogIndex(), wording.Rounded(time.Since(m.GetAt().AsTime()).Round(time.Second)))
	var ids []string
	for _, r := range m.GetReports() {
		ids = append(ids, r.GetAgent())
	}
	switch {
	case len(m.GetDifferences()) > 0:
		text += "DIFFERENT states of " + strings.Join(ids, ", ")
	case len(ids) < 2:
		text += "only the state of " + strings.Join(ids, ", ")
	default:
		text += "equal states of " + strings.Join(ids, ", ")
	}
	if len(m.GetMissing()) > 0 {
		text += "; no response of " + strings.Join(m.GetMissing(), ", ")
	}
	return text
}
