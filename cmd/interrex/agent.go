package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/api"
	"github.com/interrex/interrex/gen/interrexv1"
)

func newAgent(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "agent",
		Short: "Run an agent, and look after one that runs",
		Example: `  interrex agent run --config /etc/interrex/interrex.yaml
  interrex agent report
  interrex agent reload --addr unix:///var/lib/interrex/interrex.sock`,
	})
	c.AddCommand(newRun(a), newReport(a), newConfig(a), newReload(a), newDrain(a), newRepair(a))
	return c
}

// operatorLong says where the commands of operators are answered.
const operatorLong = "It is answered on the agent's socket alone: --addr unix://DATA-DIR/interrex.sock."

func newReload(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "reload",
		Short:   "Make an agent read its configuration again",
		Long:    "Makes an agent read its configuration again, and prints the sections that have\nchanged: only their workers are restarted. What can be checked is checked first:\nwhen anything is wrong, each problem has a line, the exit code is 2, and nothing\nchanges.\n\n" + operatorLong,
		Example: `  interrex agent reload --addr unix:///var/lib/interrex/interrex.sock`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				changed, err := s.client.Reload(ctx)
				if err != nil {
					return err
				}
				t := table{rows: [][]string{{"changed: " + cmp.Or(strings.Join(changed, ", "), "nothing")}}}
				return a.print(&interrexv1.ReloadResponse{Changed: changed}, t, changed...)
			})
		},
	}
}

func newDrain(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drain",
		Short: "Stop an agent politely",
		Long: "The agent is not ready any more, hands leadership over, releases its own leases,\nfinishes what was asked of it, and stops. The command says so when that is done,\nand before that what it waits for; --timeout bounds it, and then the agent stops\nas it is.\n\n" +
			operatorLong,
		Example: `  interrex agent drain --addr unix:///var/lib/interrex/interrex.sock`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.within(c.Context(), a.timeout, lookAtDrain, func(ctx context.Context, s session) error {
				if err := s.client.Drain(ctx); err != nil {
					return err
				}
				a.say("drained")
				return nil
			})
		},
	}
}

// lookAtDrain says what a drain waits for; "" when the agent does not say.
func lookAtDrain(ctx context.Context, s session) (what, text string) {
	m, err := s.client.Report(ctx)
	if text = unasked(err); text != "" {
		return text, text
	}
	for _, w := range m.GetWorkers() {
		if step := w.GetReport().GetFields()[api.KeyDrain]; step != nil {
			return step.GetStringValue(), step.GetStringValue()
		}
	}
	return "", ""
}
