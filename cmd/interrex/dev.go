package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
)

// readyTimeout is how long dev waits for its agents.
const readyTimeout = 30 * time.Second

// dev is one `interrex dev`.
type dev struct {
	app     *app
	nodes   int
	dataDir string
	api     string
}

func newDev(a *app) *cobra.Command {
	d := &dev{app: a}
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run one agent, or a cluster in one process, with nothing to configure",
		Example: `  interrex dev
  interrex dev --nodes 3
  interrex dev --data-dir ./data --api 127.0.0.1:7500`,
		Long: `Runs agents in this process until it is interrupted. Several agents form a real
cluster with TCP, mutual TLS and disks; only the process is shared. Their APIs listen
10 ports apart, and each agent's cluster port is its API port plus one.

TERM and INT stop it. A shell without job control starts background commands with
INT ignored: send TERM to those.`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if d.nodes != 1 && d.nodes != 3 && d.nodes != 5 {
				return usageError{fmt.Errorf("--nodes: %d is not valid: give 1, 3 or 5", d.nodes)}
			}
			return d.run(c.Context())
		},
	}
	c.Flags().IntVar(&d.nodes, "nodes", 1, "the number of agents: 1, 3 or 5")
	c.Flags().StringVar(&d.dataDir, "data-dir", "", "keep the data here (default: a temporary directory, removed at the end)")
	c.Flags().StringVar(&d.api, "api", "", "HOST:PORT of the first agent's API (default 127.0.0.1:7400)")
	return c
}

func (d *dev) run(ctx context.Context) (err error) {
	base, err := d.base()
	if err != nil {
		return usageError{err}
	}
	if d.dataDir == "" {
		dir, err := os.MkdirTemp("", "interrex-dev-")
		if err != nil {
			return fmt.Errorf("cannot create a directory for the data: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		base.Agent.DataDir = dir
	}
	if err := sameDev(base.Agent.DataDir, d.nodes); err != nil {
		return usageError{err}
	}
	configs, err := devConfigs(base, d.nodes)
	if err != nil {
		return err
	}
	agents, err := d.agents(configs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopAll(context.WithoutCancel(ctx), agents)) }()
	if err := startAll(ctx, agents); err != nil {
		if ctx.Err() != nil {
			return nil // interrupted before it was ready
		}
		return err
	}
	if err := d.welcome(agents, base.Agent.DataDir); err != nil {
		return err
	}
	return waitAny(ctx, agents)
}

// base returns the configuration that all agents share: the environment's, then
// the flags'.
func (d *dev) base() (config.Config, error) {
	environ := os.Environ()
	if os.Getenv("INTERREX_LOGGING_LEVEL") == "" && os.Getenv("INTERREX_LOGGING_CONFIG") == "" {
		environ = append(environ, quiet)
	}
	return config.Source{Environ: environ, Flags: func(c *config.Config) {
		c.Agent.DataDir = d.dataDir
		c.API.Listen = cmp.Or(d.api, c.API.Listen)
	}, FlagNames: map[string]string{"api.listen": "--api"}}.Load()
}

// quiet is how dev logs unless the environment says otherwise.
const quiet = "INTERREX_LOGGING_LEVEL=warning"

// agents makes an agent for each configuration. On a terminal their log lines begin
// with their IDs.
func (d *dev) agents(configs []config.Config) ([]*agent.Agent, error) {
	var agents []*agent.Agent
	for _, file := range configs {
		c := agentConfig(file)
		out := d.app.messages
		if len(configs) > 1 && isTerminal(out) {
			out = prefixed{out, file.Agent.ID + " "}
			file.Logging.Format = "text"
		}
		var err error
		if c.Logger, err = newLoggers(out, file.Logging); err != nil {
			return nil, usageError{err}
		}
		one, err := agent.New(c)
		if err != nil {
			return nil, err
		}
		agents = append(agents, one)
	}
	return agents, nil
}

// prefixed puts a prefix before every line, which is one Write.
type prefixed struct {
	to     io.Writer
	prefix string
}

// Write implements io.Writer.
func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.to.Write(append([]byte(p.prefix), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// startAll starts the agents concurrently and waits until all are ready.
func startAll(ctx context.Context, agents []*agent.Agent) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return each(agents, func(one *agent.Agent) error {
		if err := one.Start(ctx); err != nil {
			return err
		}
		return one.Ready(ctx)
	})
}

func stopAll(ctx context.Context, agents []*agent.Agent) error {
	return each(agents, func(one *agent.Agent) error { return one.Stop(ctx) })
}

// each calls do for all agents concurrently.
func each(agents []*agent.Agent, do func(*agent.Agent) error) error {
	failed := make([]error, len(agents))
	var all sync.WaitGroup
	for i, one := range agents {
		all.Go(func() { failed[i] = do(one) })
	}
	all.Wait()
	return errors.Join(failed...)
}

// waitAny returns when ctx ends, or with the end of the first agent.
func waitAny(ctx context.Context, agents []*agent.Agent) error {
	ended := make(chan error, len(agents))
	for _, one := range agents {
		go func() { ended <- one.Wait() }()
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}

// welcome prints where the agents listen, and what to try.
func (d *dev) welcome(agents []*agent.Agent, dir string) error {
	var b strings.Builder
	b.WriteString("interrex dev is ready\n\n")
	for _, one := range agents {
		addrs := one.Addrs()
		fmt.Fprintf(&b, "  %s  API http://%s", one.ID(), addrs["api"])
		if addrs["cluster"] != "" {
			fmt.Fprintf(&b, "  cluster %s", addrs["cluster"])
		}
		fmt.Fprintf(&b, "  socket %s\n", addrs["socket"])
	}
	kept := "kept"
	if d.dataDir == "" {
		kept = "removed at the end"
	}
	fmt.Fprintf(&b, "  data in %s, %s\n\nTry:\n", dir, kept)
	command := programName()
	if api := "http://" + agents[0].Addrs()["api"]; api != defaultAddress {
		command += " --addr " + api
	}
	for _, try := range []string{"lease claim db --ttl 1m", "lock nightly -- sleep 10", "status"} {
		fmt.Fprintf(&b, "  %s %s\n", command, try)
	}
	b.WriteString("\nPress Ctrl-C to stop.")
	return d.app.line(b.String())
}

// programName returns the command that runs this program again.
func programName() string {
	self, err := os.Executable()
	switch {
	case err != nil:
		return "interrex"
	case strings.Contains(self, "/go-build"):
		return "go run ./cmd/interrex"
	}
	if found, err := exec.LookPath("interrex"); err == nil && found == self {
		return "interrex"
	}
	return os.Args[0]
}
