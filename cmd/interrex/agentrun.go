package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/juju/loggo"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/logs"
)

// defaultConfig is read if it exists and --config is not given; else ownConfig, which
// 'agent init' and 'agent join' make, unless another data directory is given.
const (
	defaultConfig = "/etc/interrex/interrex.yaml"
	ownConfig     = "/var/lib/interrex/interrex.yaml"
)

// configUsage is the text of --config.
const configUsage = "the configuration file (default " + defaultConfig + ", else " + ownConfig + ", if it exists)"

// running is one `interrex agent run`.
type running struct {
	app  *app
	path string

	// The flags, which override file and environment.
	id, dataDir, api, cluster string
	join                      []string
}

func newRun(a *app) *cobra.Command {
	r := &running{app: a}
	c := &cobra.Command{
		Use:   "run",
		Short: "Run an agent until it is stopped",
		Example: `  interrex agent run
  interrex agent run --config node1.yaml
  interrex agent run --data-dir ./data --api 127.0.0.1:7500`,
		Long: `Runs an agent. TERM and INT drain it, a second one ends it at once; HUP makes it
read its configuration again. A shell without job control starts background commands
with INT ignored: send TERM to those. Flags override the environment (INTERREX_ and the
path of a key in capitals), which overrides the file, which overrides the defaults.

HUP checks the new configuration first: if anything is wrong, nothing changes, and
the log says why.`,
		Args: arguments(0, "no arguments except --config FILE"),
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context()) },
	}
	flags := c.Flags()
	flags.StringVar(&r.path, "config", "", configUsage)
	flags.StringVar(&r.id, "id", "", "agent.id: a DNS label")
	flags.StringVar(&r.dataDir, "data-dir", "", "agent.data-dir")
	flags.StringVar(&r.api, "api", "", "api.listen: HOST:PORT")
	flags.StringVar(&r.cluster, "cluster", "", "cluster.listen: HOST:PORT")
	flags.StringSliceVar(&r.join, "join", nil, "cluster.join: cluster addresses of other agents")
	return c
}

// source is where the configuration is read from, also by a reload.
func (r *running) source() config.Source {
	return config.Source{
		Path: cmp.Or(r.path, r.defaultPath(defaultConfig, ownConfig)), Optional: r.path == "",
		Environ: os.Environ(), Flags: r.overlay, FlagNames: map[string]string{
			"agent.id": "--id", "agent.data-dir": "--data-dir", "api.listen": "--api", "cluster.listen": "--cluster", "cluster.join": "--join",
		},
	}
}

// defaultPath returns the file to read where none is given.
func (r *running) defaultPath(first, own string) string {
	_, err := os.Stat(first)
	_, failed := os.Stat(own)
	if errors.Is(err, fs.ErrNotExist) && failed == nil && cmp.Or(r.dataDir, os.Getenv("INTERREX_AGENT_DATA_DIR")) == "" {
		return own
	}
	return first
}

func (r *running) overlay(c *config.Config) {
	c.Agent.ID = cmp.Or(r.id, c.Agent.ID)
	c.Agent.DataDir = cmp.Or(r.dataDir, c.Agent.DataDir)
	c.API.Listen = cmp.Or(r.api, c.API.Listen)
	c.Cluster.Listen = cmp.Or(r.cluster, c.Cluster.Listen)
	if len(r.join) > 0 {
		c.Cluster.Join = r.join
	}
}

func (r *running) run(ctx context.Context) error {
	source := r.source()
	file, err := source.Load()
	if err != nil {
		return usageError{err}
	}
	c := agentConfig(file)
	c.Load = source.Load
	if c.Logger, err = newLoggers(r.app.messages, file.Logging); err != nil {
		return usageError{err}
	}
	one, err := agent.New(c)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	if err := one.Start(ctx); err != nil {
		return err
	}
	logger := c.Logger.GetLogger("interrex.agent")
	logger.Infof("agent %s runs: %s", one.ID(), addresses(one.Addrs()))
	return stay(ctx, one, hup, logger)
}

// oneLine puts several problems on one line of the log.
func oneLine(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Replace(strings.Join(lines, "; "), ":; ", ": ", 1)
}

// agentConfig adds what only the binary has: drivers, version and metrics.
func agentConfig(file config.Config) agent.Config {
	c := agent.FromFile(file)
	c.SQLite, c.Postgres = openSQLite, openPostgres
	c.Version = readBuild().Version
	c.Collectors = []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	return c
}

// newLoggers returns the loggers of one agent. Unless the format is configured, they
// write text to a terminal, and JSON otherwise.
func newLoggers(w io.Writer, l config.Logging) (*loggo.Context, error) {
	asJSON := l.Format == "json" || l.Format != "text" && !isTerminal(w)
	loggers, err := logs.New(w, asJSON, l)
	if err != nil {
		return nil, fmt.Errorf("cannot log: %w", err)
	}
	return loggers, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// addresses lists what an agent listens on, by name.
func addresses(bound map[string]string) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(bound)) {
		all = append(all, name+" "+bound[name])
	}
	return strings.Join(all, ", ")
}
