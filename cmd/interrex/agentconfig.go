package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/assembly"
)

func newConfig(a *app) *cobra.Command {
	var effective bool
	var check string
	c := &cobra.Command{
		Use:   "config",
		Short: "Show an agent's configuration, or check a file",
		Long: "Shows the settings of an agent's configuration that differ from the defaults.\n\n" + operatorLong +
			"\n--check needs no agent: it reads the file, and tries the files, the database, the\ndata directory and the addresses that it names, as this user and in this environment.\nIt changes nothing, and does not read the log: 'agent repair' does that. Each problem\nis printed on its own line; the exit code is then 2.",
		Example: `  interrex agent config --check node1.yaml
  interrex agent config --effective --addr unix:///var/lib/interrex/interrex.sock`,
		Args: arguments(0, "no arguments except --check FILE"),
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("check") {
				if effective {
					return usageError{errors.New("--check and --effective do not go together: one checks a file, the other queries an agent")}
				}
				return a.checkConfig(c.Context(), check)
			}
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				return a.showConfig(ctx, s, effective)
			})
		},
	}
	c.Flags().BoolVar(&effective, "effective", false, "show everything: the defaults, and the timings in effect")
	c.Flags().StringVar(&check, "check", "", "check whether an agent can run with this file")
	return c
}

// checkConfig checks whether an agent can run with a file; the error has a line for
// each problem.
func (a *app) checkConfig(ctx context.Context, path string) error {
	_, err := config.Source{Path: path, Environ: os.Environ(), Check: func(c config.Config) error {
		warnings, err := agentConfig(c).Check(ctx)
		for _, warning := range warnings {
			a.say("warning: %s", warning)
		}
		return err
	}}.Load()
	if err != nil {
		return usageError{fmt.Errorf("%s cannot be used:\n%w", path, err)}
	}
	a.say("%s is valid", path)
	return nil
}

// showConfig prints the agent's configuration, in YAML like its file.
func (a *app) showConfig(ctx context.Context, s session, effective bool) error {
	text, err := s.client.Config(ctx)
	if err != nil {
		return err
	}
	if !effective {
		if text, err = aboveDefaults(text); err != nil {
			return err
		}
	}
	switch a.output {
	case "json":
		var document any
		if err := yaml.Unmarshal([]byte(text), &document); err != nil {
			return fmt.Errorf("cannot read the agent's configuration: %w", err)
		}
		return a.json(document)
	case "table", "yaml":
		_, err = fmt.Fprint(a.out, text)
		return err
	}
	return a.print(&interrexv1.ConfigResponse{Yaml: text}, table{}, "config")
}

// aboveDefaults removes the defaults from a configuration, also the timings that
// its cluster.timing implies.
func aboveDefaults(text string) (string, error) {
	var given, byDefault map[string]any
	usual := config.Default()
	var timed struct{ Cluster struct{ Timing string } }
	if yaml.Unmarshal([]byte(text), &timed) == nil && timed.Cluster.Timing != "" {
		usual.Cluster.Timing = timed.Cluster.Timing
	}
	usual = assembly.InForce(usual)
	usual.Cluster.Timing = config.Default().Cluster.Timing
	plain, err := usual.YAML()
	if err == nil {
		err = errors.Join(yaml.Unmarshal([]byte(text), &given), yaml.Unmarshal(plain, &byDefault))
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the agent's configuration: %w", err)
	}
	out, err := yaml.Marshal(without(given, byDefault))
	return string(out), err
}

// without returns what is in a map of maps and differs from what is in another.
func without(given, known map[string]any) map[string]any {
	left := maps.Clone(given)
	for key, value := range given {
		inner, is := value.(map[string]any)
		innerKnown, too := known[key].(map[string]any)
		switch {
		case is && too:
			if rest := without(inner, innerKnown); len(rest) > 0 {
				left[key] = rest
			} else {
				delete(left, key)
			}
		case reflect.DeepEqual(value, known[key]):
			delete(left, key)
		}
	}
	return left
}
