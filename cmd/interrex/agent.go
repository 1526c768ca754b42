package main

import (
	"context"
	"strings"
	"time"

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
	c.AddCommand(newRun(a), newReport(a), newConfig(a), newReload(a), newDrain(a))
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
				t := table{rows: [][]string{{"changed: " + orDefault(strings.Join(changed, ", "), "nothing")}}}
				return a.print(&interrexv1.ReloadResponse{Changed: changed}, t, changed...)
			})
		},
	}
}

func newDrain(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drain",
		Short: "Stop an agent politely",
		Long: "The agent is not ready any more, hands leadership over, releases its own leases,\nfinishes what was asked of it, and stops. The command says so when that is done,\nand after 2 s what it waits for; --timeout bounds it, and then the agent stops\nas it is.\n\n" +
			operatorLong,
		Example: `  interrex agent drain --addr unix:///var/lib/interrex/interrex.sock`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				ended := make(chan error, 1)
				go func() { ended <- s.client.Drain(ctx) }()
				if err := s.tellDrain(ctx, ended); err != nil {
					return err
				}
				a.say("drained")
				return nil
			})
		},
	}
}

// drainLook is how often a drain is asked what it waits for.
const drainLook = 2 * time.Second

// tellDrain waits for the end of a drain, and says meanwhile what that waits
// for.
func (s session) tellDrain(ctx context.Context, ended <-chan error) error {
	said := ""
	for {
		select {
		case err := <-ended:
			return err
		case <-time.After(drainLook):
		}
		if step := s.drainStep(ctx); step != "" && step != said {
			s.app.say("waiting for %s", step)
			said = step
		}
	}
}

// drainStep asks what the drain waits for; empty: the agent does not say.
func (s session) drainStep(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, drainLook)
	defer cancel()
	m, err := s.client.Report(ctx)
	if err != nil {
		return "" // the drain's own end says why
	}
	for _, w := range m.GetWorkers() {
		if step := w.GetReport().GetFields()[api.KeyDrain]; step != nil {
			return step.GetStringValue()
		}
	}
	return ""
}
