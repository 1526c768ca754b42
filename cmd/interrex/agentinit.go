package main

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/wording"
)

// enrolmentFlags are the flags of init and join.
func enrolmentFlags(c *cobra.Command, a *enrolment.Agent) {
	flags := c.Flags()
	flags.StringVar(&a.DataDir, "data-dir", "", "the directory for the agent's data, which is made")
	flags.StringVar(&a.ID, "id", "", "the agent's ID, a DNS label (default the first label of this machine's name)")
	flags.StringVar(&a.API, "api", "127.0.0.1:7400", "the address of its API, HOST:PORT")
	flags.StringVar(&a.Cluster, "cluster", "0.0.0.0:7401", "the address for other agents, HOST:PORT")
	flags.StringArrayVar(&a.Names, "san", nil, "a further host name or IP address at which callers reach its API; may be repeated")
}

func newInit(a *app) *cobra.Command {
	var made enrolment.Agent
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the first agent of a cluster",
		Long: `Makes the data directory of the first agent of a cluster, and prints how to start it
and how the next agents join. It contains:
  interrex.yaml           its configuration
  ca.pem, ca.key          the cluster's CA
  agent.pem, agent.key    the agent's certificate, for other agents and for its API
  charter.json            what the cluster begins with; it has no secrets
  operator.token          the operator's access token, a secret
  join.token              a secret with which 4 agents may join within an hour after
                          the first start; 'interrex join-token create' makes others

The API speaks TLS, and its callers need an access token: 'interrex token create'
makes others. On the agent's own machine the socket DIR/interrex.sock needs none.`,
		Example: `  interrex agent init --data-dir /var/lib/interrex --cluster 10.0.0.1:7401`,
		Args:    arguments(0, "no arguments except --data-dir DIR"),
		RunE: func(*cobra.Command, []string) error {
			made.ID = check.ID(made.ID, made.DataDir)
			dir, err := filepath.Abs(made.DataDir)
			if err == nil && made.DataDir != "" {
				made.DataDir = dir
			}
			f, err := enrolment.Found(made, time.Now())
			if err != nil {
				return usageError{err}
			}
			config := filepath.Join(made.DataDir, enrolment.ConfigName)
			return a.done(map[string]any{"id": made.ID, "config": config, "join_token": f.JoinToken, "operator_token": f.Operator, "address": f.Address},
				`agent %s is ready in %s

start it:
  interrex agent run --config %s

use its API, here or with copies of these files:
  export INTERREX_ADDR=%s INTERREX_CACERT=%s INTERREX_TOKEN_FILE=%s

on each of the next machines, with a copy of %s, within %s after that start:
  interrex agent join %s --token-file join.token --data-dir %s
`, made.ID, made.DataDir, config,
				"https://"+made.API, filepath.Join(made.DataDir, authority.CertName), f.Operator, f.JoinToken, wording.Rounded(f.TTL), f.Address, made.DataDir)
		},
	}
	enrolmentFlags(c, &made)
	return c
}
