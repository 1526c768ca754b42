package main

import (
	"github.com/spf13/cobra"
)

func newAgent(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "agent",
		Short: "Run an agent, or manage a running one",
		Example: `  interrex agent run --config /etc/interrex/interrex.yaml
  interrex agent report
  interrex agent reload --addr unix:///var/lib/interrex/interrex.sock`,
	})
	c.AddCommand(newInit(a), newJoin(a), newRun(a), newReport(a), newConfig(a), newReload(a), newDrain(a), newLeave(a), newRepair(a))
	return c
}

// operatorLong says where agents accept the commands of operators.
const operatorLong = "This works only over the agent's socket: --addr unix://DATA-DIR/interrex.sock."
