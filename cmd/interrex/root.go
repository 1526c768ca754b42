package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// app is what every command shares: the global flags and where to print.
type app struct {
	out, talk io.Writer

	addr      string
	output    string
	quiet     bool
	noHeaders bool
	timeout   time.Duration

	requestID  string // of the command's one recorded request; "": a random one
	repeatWith string // more flags that repeat it
}

// outputs are the values of --output.
var outputs = []string{"table", "json", "yaml", "name"}

func newRoot(out, talk io.Writer) *cobra.Command {
	a := &app{out: out, talk: talk}
	root := &cobra.Command{
		Use:   "interrex",
		Short: "Leases, leadership and small replicated state",
		Example: `  interrex dev                              one agent, nothing to configure
  interrex lock nightly -- ./backup.sh      run a command while a lease is held
  interrex lease claim db --ttl 30s --keep  hold a lease until interrupted
  interrex status                           the cluster on one screen`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return a.check(c) },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	group(root)
	root.SetOut(out)
	root.SetErr(talk)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate("{{.UsageString}}")
	root.SetFlagErrorFunc(flagError)
	a.globalFlags(root)
	root.AddCommand(
		newDev(a), newAgent(a), newLease(a), newLock(a), newReaper(),
		newStatus(a), newVersion(a), newCompletion(a),
	)
	return root
}

func (a *app) globalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.addr, "addr", "", "agents to ask, comma separated: http://, https:// or unix:// (default $INTERREX_ADDR, else http://127.0.0.1:7400)")
	flags.StringVarP(&a.output, "output", "o", orDefault(os.Getenv("INTERREX_OUTPUT"), "table"), "table, json, yaml or name")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print the key or the token alone")
	flags.BoolVar(&a.noHeaders, "no-headers", false, "tables without a header line")
	a.timeout = 15 * time.Second
	flags.Var(&duration{to: &a.timeout, least: time.Millisecond, most: time.Hour}, "timeout", "how long to try before giving up")
}

// check refuses what no command can print. A command with an --output of its
// own checks that itself.
func (a *app) check(c *cobra.Command) error {
	if c.LocalNonPersistentFlags().Lookup("output") != nil {
		return nil
	}
	return oneOf("output", a.output, outputs)
}

func oneOf(flag, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usageError{fmt.Errorf("--%s: %q is none of %s", flag, value, strings.Join(allowed, ", "))}
}

// group makes c a command that only has others below it.
func group(c *cobra.Command) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		var names []string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		hint := ""
		if near := nearest(args[0], names); near != "" {
			hint = fmt.Sprintf(" did you mean %q?", near)
		}
		return usageError{fmt.Errorf("there is no command %q:%s see '%s --help'",
			strings.TrimPrefix(c.CommandPath()+" "+args[0], c.Root().Name()+" "), hint, c.CommandPath())}
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return c
}

// arguments demands n arguments and names them when they are not there.
func arguments(n int, names string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return usageError{fmt.Errorf("%q takes %s, not %d arguments: see '%s --help'",
			strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" "), names, len(args), c.CommandPath())}
	}
}

// atMostOne allows one argument or none.
func atMostOne(name string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) <= 1 {
			return nil
		}
		return arguments(1, "at most one "+name)(c, args)
	}
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// usageTemplate is what --help prints: the examples first.
const usageTemplate = `{{if .HasExample}}Examples:
{{.Example}}

{{end}}{{with or .Long .Short}}{{.}}

{{end}}Usage:{{if .HasAvailableSubCommands}}
  {{.CommandPath}} COMMAND{{else}}
  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableInheritedFlags}}

Global flags:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}{{if .HasAvailableSubCommands}}

See '{{.CommandPath}} COMMAND --help' for more about a command.{{end}}
`
