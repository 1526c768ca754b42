package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/apiserver"
)

func newDrain(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "drain",
		Short: "Stop an agent gracefully",
		Long: "The agent becomes unready, hands leadership over, releases its own leases,\nfinishes the requests in progress, and stops. The command shows what it is waiting\nfor, and reports when the agent has drained; its process ends right afterwards.\nAfter --timeout the agent stops without waiting further.\n\n" +
			operatorLong,
		Example: `  interrex agent drain --addr unix:///var/lib/interrex/interrex.sock`,
		Args:    arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.within(c.Context(), a.timeout, probeDrain, func(ctx context.Context, s session) error {
				if err := s.client.Drain(ctx); err != nil {
					return err
				}
				a.say("drained; the process is about to end")
				return nil
			})
		},
	}
}

// probeDrain says what a drain waits for; "" if the agent does not report it.
func probeDrain(ctx context.Context, s session) (what, text string) {
	m, err := s.client.Report(ctx)
	if text = whyUnreachable(err); text != "" {
		return text, text
	}
	for _, w := range m.GetWorkers() {
		if step := w.GetReport().GetFields()[apiserver.KeyDrain]; step != nil {
			return step.GetStringValue(), step.GetStringValue()
		}
	}
	return "", ""
}
