package main

import (
	"cmp"
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/apiserver"
)

func newAgent(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "agent",
		Short: "Run an agent, or manage a running one",
		Example: `  interrex agent run --config /etc/interrex/interrex.yaml
  interrex agent report
  interrex agent reload --addr unix:///var/lib/interrex/interrex.sock`,
	})
	c.AddCommand(newRun(a), newReport(a), newConfig(a), newReload(a), newDrain(a), newRepair(a))
	return c
}

// operatorLong says where the commands of operators are answered.
const operatorLong = "This works only over the agent's socket: --addr unix://DATA-DIR/interrex.sock."

func newReload(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "reload",
		Short:   "Make an agent read its configuration again",
		Long:    "Makes an agent read its configuration again, and prints the sections that have\nchanged: only their workers are restarted. The configuration is checked first:\nif anything is wrong, each problem is printed on its own line, the exit code is 2,\nand nothing changes.\n\n" + operatorLong,
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
		Short: "Stop an agent gracefully",
		Long: "The agent becomes unready, hands leadership over, releases its own leases,\nfinishes the requests in progress, and stops. The command shows what it is waiting\nfor and reports when the agent has stopped. After --timeout the agent stops without\nwaiting further.\n\n" +
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
		if step := w.GetReport().GetFields()[apiserver.KeyDrain]; step != nil {
			return step.GetStringValue(), step.GetStringValue()
		}
	}
	return "", ""
}
