package main

import (
	"cmp"
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/check"
	"github.com/interrex/interrex/internal/doctor"
)

// exitFailed is the exit code of doctor when a check failed.
const exitFailed = exit(1)

func newDoctor(a *app) *cobra.Command {
	r := &running{app: a}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Check the machine that runs an agent, or is about to",
		Long: `Checks what an agent with this configuration needs from its machine, and what it says
of its cluster. Each line is one check: ok, warn or fail, what was found, and what to do.

  clock        its rate, and whether it is synchronised or slewed
  fsync        50 small writes to a file of its own in the data directory, in 2 s at most
  disk         free space and inodes of the data directory's file system
  port         whether api.listen and cluster.listen are free, unless an agent runs here
  names        whether the names of hosts in the configuration resolve
  certificate  until when those of cluster.tls and api.tls and in ca.pem are valid
  quorum       what the agent says of its cluster, and its alarms

It works with and without a running agent, and does not disturb one. The agent is the
one that runs with this configuration, on its socket, unless --addr or INTERREX_ADDR
names another.

The exit code is 1 if a check failed, and 0 with warnings only.`,
		Example: `  interrex doctor
  interrex doctor --config node1/interrex.yaml
  interrex doctor --config node1/interrex.yaml -o json`,
		Args: arguments(0, "no arguments except --config FILE"),
		RunE: func(c *cobra.Command, _ []string) error {
			source := r.source()
			conf, err := source.Load()
			if err != nil {
				return usageError{err}
			}
			a.sayConfiguration(source)
			return a.printFindings(append(doctor.Machine(c.Context(), conf), a.quorum(c.Context(), conf)...))
		},
	}
	c.Flags().StringVar(&r.path, "config", "", configUsage)
	return c
}

// sayConfiguration says which file was read.
func (a *app) sayConfiguration(s config.Source) {
	if _, err := os.Stat(s.Path); err != nil {
		a.say("without a configuration file: --config names one")
		return
	}
	a.say("with the configuration %s", s.Path)
}

// quorum queries the agent of a configuration, unless another is named.
func (a *app) quorum(ctx context.Context, c config.Config) []doctor.Finding {
	elsewhere, socket := cmp.Or(a.addr, os.Getenv("INTERREX_ADDR")) != "", check.SocketPath(c)
	if !elsewhere && !check.Answers(socket) {
		return []doctor.Finding{doctor.Unasked(false, nil)}
	}
	if !elsewhere {
		a.addr = "unix://" + socket
	}
	var m *interrexv1.StatusResponse
	err := a.with(ctx, a.timeout, func(ctx context.Context, s session) (err error) {
		m, err = s.client.Status(ctx)
		return err
	})
	if err != nil {
		return []doctor.Finding{doctor.Unasked(true, err)}
	}
	return doctor.Quorum(m)
}

// diagnosis is the document of the command.
type diagnosis struct {
	Level  doctor.Level     `json:"level"`
	Checks []doctor.Finding `json:"checks"`
}

func (a *app) printFindings(all []doctor.Finding) error {
	t := table{header: []string{"LEVEL", "CHECK", "FOUND"}}
	var failed []string
	for _, f := range all {
		t.rows = append(t.rows, []string{string(f.Level), f.Check, f.Text})
		if f.Do != "" {
			t.rows = append(t.rows, []string{"", "", "to do: " + f.Do})
		}
		if f.Level == doctor.Fail {
			failed = append(failed, f.Check)
		}
	}
	if err := a.print(diagnosis{doctor.Worst(all), all}, t, failed...); err != nil {
		return err
	}
	if len(failed) > 0 {
		return exitFailed
	}
	return nil
}
