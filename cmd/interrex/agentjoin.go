package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/juju/clock"
	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/jointoken"
	"github.com/interrex/interrex/internal/silent"
)

// joinTimeout bounds a join without --timeout; 'agent run' then waits for as long as it takes.
const joinTimeout = 2 * time.Minute

func newJoin(a *app) *cobra.Command {
	j := &joiner{app: a}
	c := &cobra.Command{
		Use:   "join ADDRESS [ADDRESS ...]",
		Short: "Make an agent that joins a cluster",
		Long: `Asks a running member at its cluster address for a certificate, and makes the data
directory of an agent that joins the cluster. Any member will do; several may be
given. The member is checked against the token, and the agent's key never leaves
this machine. The command waits for 2 minutes, or --timeout; repeating it goes on where
it was.

An agent that is in the cluster already, and was off until its certificate ended, gets
a new one with a token that was made for it by name: 'interrex join-token create
--for ID'. All else in its directory stays as it is.

The data of an agent that was removed, or that a recovery left behind, is moved to
DIR/before-join, in place of what an earlier join has left there.

A configuration DIR/interrex.yaml that is there already is kept: only cluster.join, what
the flags give, and what the new certificate needs are changed in it.

With --forward the agent runs without raft: it has no log, no data and no vote, and
forwards every request to the members. So do the many machines of a cluster whose
programs need it, and that need no vote. Its callers need access tokens; for those on
its socket, and for itself, 'api.token-file' in its configuration names the file of one.

Then start the agent. It gets the cluster's data first, and a vote once it has
caught up, where that keeps the number of voters odd.`,
		Example: `  interrex agent join 10.0.0.1:7401 --token-file join.token --data-dir /var/lib/interrex
  interrex agent run --config /var/lib/interrex/interrex.yaml
  interrex agent join 10.0.0.1:7401 --token-file join.token --data-dir /var/lib/interrex --forward`,
		Args: atLeastOne("ADDRESS"),
		RunE: func(c *cobra.Command, args []string) error {
			limit := joinTimeout
			if c.Flags().Changed("timeout") {
				limit = a.timeout
			}
			if !c.Flags().Changed("api") {
				j.agent.API = "" // the configuration that is there may have one
			}
			if !c.Flags().Changed("cluster") {
				j.agent.Cluster = ""
			}
			ctx, cancel := context.WithTimeout(c.Context(), limit)
			defer cancel()
			return j.join(ctx, args)
		},
	}
	enrolmentFlags(c, &j.agent)
	c.Flags().StringVar(&j.tokenFile, "token-file", "", "the file with the join token")
	c.Flags().BoolVar(&j.agent.Forwards, "forward", false, "make an agent without raft, which forwards every request")
	return c
}

// joiner is one `interrex agent join`.
type joiner struct {
	app       *app
	agent     enrolment.Agent
	tokenFile string
}

func (j *joiner) join(ctx context.Context, addresses []string) error {
	if j.tokenFile == "" {
		return usageError{errors.New("--token-file is missing: give the file with the join token, which 'interrex agent init' or 'interrex join-token create' has made")}
	}
	text, err := disk.ReadSmall(j.tokenFile)
	if err != nil {
		return usageError{fmt.Errorf("--token-file: %w", err)}
	}
	token, err := jointoken.Parse(string(text))
	if err != nil {
		return usageError{err}
	}
	if j.agent.DataDir != "" {
		if j.agent.DataDir, err = filepath.Abs(j.agent.DataDir); err != nil {
			return usageError{err}
		}
	}
	j.agent.ID = check.ID(cmp.Or(j.agent.ID, enrolment.ConfiguredID(j.agent.DataDir)), j.agent.DataDir)
	joined, err := enrolment.Join(ctx, enrolment.JoinConfig{
		Agent: j.agent, Addresses: addresses, Token: token, Clock: clock.WallClock, Logger: progress{say: j.app.say},
	})
	if err != nil {
		return err
	}
	config := filepath.Join(j.agent.DataDir, enrolment.ConfigName)
	document := map[string]any{"id": joined.ID, "config": config}
	if joined.Runs {
		return j.app.done(document, "agent %s has a new certificate, and takes it without a restart; all else in %s stays as it is", joined.ID, j.agent.DataDir)
	}
	return j.app.done(document, "agent %s may join; start it:\n  interrex agent run --config %s", joined.ID, config)
}

// progress shows what a join is waiting for.
type progress struct {
	silent.Logger
	say func(format string, args ...any)
}

// Infof is part of interrex.Logger.
func (p progress) Infof(format string, args ...any) { p.say(format, args...) }
