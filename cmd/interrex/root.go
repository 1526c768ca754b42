package main

import (
	"cmp"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/hold"
)

// app is shared by all commands: the global flags, and where to print.
type app struct {
	out, messages io.Writer

	addr      string
	output    string
	quiet     bool
	noHeaders bool
	timeout   time.Duration

	requestID  string // of the command's recorded request; a random one if empty
	repeats    bool   // the command has --request-id
	repeatWith string // more flags that repeat it
}

// outputs are the values of --output.
var outputs = []string{"table", "json", "yaml", "name"}

func newRoot(out, messages io.Writer) *cobra.Command {
	a := &app{out: out, messages: messages}
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
	showVersion := root.Flags().Bool("version", false, "print the version, like 'interrex version'")
	root.RunE = func(c *cobra.Command, _ []string) error {
		if *showVersion {
			return a.version()
		}
		return c.Help()
	}
	root.SetOut(out)
	root.SetErr(messages)
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate("{{.UsageString}}")
	root.SetFlagErrorFunc(flagError)
	a.globalFlags(root)
	root.AddCommand(
		newDev(a), newAgent(a), newLease(a), newLock(a), newReaper(), newResource(a),
		newKV(a), newChange(a), newStatus(a), newDoctor(a), newSettings(a), newRequest(a), newWebhook(a), newMember(a), newJoinToken(a), newCert(a), newCA(a), newToken(a), newSnapshot(a), newState(a), newRecover(a), newVersion(a), newCompletion(a),
	)
	a.describe(root)
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		_, path, _ := strings.Cut(c.CommandPath(), " ")
		top, _, _ := strings.Cut(path, " ")
		if about, has := quietly[top]; has {
			c.Flag("quiet").Usage = about // the flag is shared, and help ends the command
		}
		help(c, args)
	})
	return root
}

func (a *app) globalFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.StringVar(&a.addr, "addr", "", "agents to connect to, comma separated: HOST:PORT, http://, https:// or unix:///PATH (default $INTERREX_ADDR, else "+defaultSocket+" if it exists, else "+defaultAddress+")")
	flags.StringVarP(&a.output, "output", "o", cmp.Or(os.Getenv("INTERREX_OUTPUT"), "table"), "table, json, yaml or name")
	fixedFlag(root, "output", outputs...)
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "print only names, or the one value that a script needs")
	flags.BoolVar(&a.noHeaders, "no-headers", false, "print tables without a header line")
	a.timeout = 15 * time.Second
	flags.Var(&duration{to: &a.timeout, least: time.Millisecond, most: time.Hour}, "timeout", "how long to try before giving up")
}

// variables are the environment variables that commands read or lock sets, apart
// from those of an agent's configuration.
var variables = []string{
	"INTERREX_ADDR", "INTERREX_CACERT", "INTERREX_CERT", "INTERREX_KEY",
	"INTERREX_OUTPUT", hold.HolderVariable, "INTERREX_LEASE_KEY", "INTERREX_LEASE_TOKEN",
	"INTERREX_TOKEN_FILE", "INTERREX_TOKEN",
}

// withoutEnvironment are the commands that read no variable.
var withoutEnvironment = []string{"version", "completion", "help", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}

// check rejects misspelt environment variables, and an unknown --output. A command
// with an --output of its own checks that itself.
func (a *app) check(c *cobra.Command) error {
	a.repeats = c.Flags().Lookup("request-id") != nil
	if !slices.Contains(withoutEnvironment, c.Name()) {
		if err := (config.Source{Environ: os.Environ()}).CheckEnviron(variables...); err != nil {
			return usageError{err}
		}
	}
	if c.LocalNonPersistentFlags().Lookup("output") != nil {
		return nil
	}
	return oneOutput(a.output, outputs)
}

// oneOutput checks --output.
func oneOutput(value string, allowed []string) error {
	return oneOf("--output (or $INTERREX_OUTPUT)", value, allowed)
}

// group makes c a command that only has subcommands.
func group(c *cobra.Command) *cobra.Command {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return noSuchCommand(c, args[0])
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return c
}
