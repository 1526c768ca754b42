package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/spf13/cobra"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/assembly"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/enrolment"
	"github.com/interrex/interrex/internal/recovery"
)

func newRecover(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "recover",
		Short: "Continue a cluster whose majority is lost for good, from one survivor",
		Example: `  interrex recover plan --data-dir /var/lib/interrex
  interrex recover apply --data-dir /var/lib/interrex`,
	})
	c.AddCommand(newRecoverPlan(a), newRecoverApply(a))
	return c
}

func newRecoverPlan(a *app) *cobra.Command {
	var dirs []string
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what a recovery would continue from, and what it would lose",
		Long: `Shows, for the data directories of stopped agents, how far each log goes, and from
which of them a recovery loses least. Copy the directories of other members to this
machine and repeat --data-dir. Nothing is changed.`,
		Example: `  interrex recover plan --data-dir /var/lib/interrex
  interrex recover plan --data-dir /var/lib/interrex --data-dir /tmp/copy-of-n2`,
		Args: arguments(0, "no arguments except --data-dir DIR"),
		RunE: func(*cobra.Command, []string) error {
			if len(dirs) == 0 {
				return usageError{errors.New("--data-dir is missing: give the data directory of a survivor")}
			}
			all, err := recovery.Plan(dirs)
			if err != nil {
				return err
			}
			return a.printPlan(all)
		},
	}
	c.Flags().StringArrayVar(&dirs, "data-dir", nil, "the data directory of a stopped agent, or a copy of one; may be repeated")
	return c
}

type planDocument struct {
	Directories []plannedDocument `json:"directories"`
	Lost        string            `json:"lost"`
	Next        string            `json:"next"`
}

type plannedDocument struct {
	DataDir  string        `json:"data_dir"`
	ID       string        `json:"id"`
	Cluster  string        `json:"cluster_id"`
	Epoch    string        `json:"epoch"`
	End      placeDocument `json:"end"`
	Members  []string      `json:"members"`
	Refused  string        `json:"refused"`
	Furthest bool          `json:"furthest"`
}

// printPlan shows directories, the furthest one first.
func (a *app) printPlan(all []*recovery.Directory) error {
	p := planDocument{Lost: lost(all[0]), Next: next(all[0])}
	t := table{header: []string{"DIRECTORY", "AGENT", "CLUSTER", "EPOCH", "TERM", "INDEX", "MEMBERS", ""}}
	for i, d := range all {
		one := plannedDocument{
			DataDir: filepath.Clean(d.Path), ID: d.ID, Cluster: d.ClusterID, Epoch: number(d.Epoch.Number), End: placeOf(d.End),
			Members: []string{}, Furthest: i == 0 && d.Refusal() == nil,
		}
		for _, s := range d.Members.Servers {
			one.Members = append(one.Members, memberOf(s))
		}
		note := ""
		if one.Furthest {
			note = "furthest"
		}
		if err := d.Refusal(); err != nil {
			one.Refused = err.Error()
			note = "cannot be recovered"
			a.say("%s: %v", one.DataDir, err)
		}
		p.Directories = append(p.Directories, one)
		t.rows = append(t.rows, []string{one.DataDir, one.ID, one.Cluster, one.Epoch, one.End.Term, one.End.Index, strings.Join(one.Members, ", "), note})
	}
	if err := a.print(p, t, all[0].ID); err != nil {
		return err
	}
	a.say("%s\n%s", p.Lost, p.Next)
	return nil
}

// lost says what a recovery from a directory would lose.
func lost(d *recovery.Directory) string {
	always := "Whatever the lost majority has acknowledged after the end of that log is lost. All leases end, the revision is raised so that tokens still increase, and nothing is granted for the longest known ttl, at least 30s."
	if d.Ahead == "" {
		return "No agent is known to have stored more than " + proved(d.End) + ". " + always
	}
	return fmt.Sprintf("Agent %s had stored %s, and this log ends at %s: what is between them is lost, unless you find the directory of %s. %s", d.Ahead, d.Stored, proved(d.End), d.Ahead, always)
}

// next says what to type.
func next(d *recovery.Directory) string {
	switch {
	case d.Refusal() != nil:
		return "None of these directories can be recovered."
	case d.Alone:
		return fmt.Sprintf("Agent %s is the only voter and needs no recovery: start it; 'interrex agent repair --data-dir %s' says whether it is damaged.", d.ID, d.Path)
	}
	return fmt.Sprintf("If %s can be started again, do that instead. If they are lost for good, on the machine of agent %s:\n  interrex recover apply --data-dir %s", others(d), d.ID, d.Path)
}

// others names the voters besides a directory's own agent.
func others(d *recovery.Directory) string {
	var ids []string
	for _, id := range d.Voters() {
		if id != d.ID {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return "the other agents"
	}
	return strings.Join(ids, " and ")
}

func newRecoverApply(a *app) *cobra.Command {
	r := &rescuer{app: a}
	c := &cobra.Command{
		Use:   "apply",
		Short: "Make a survivor the only member of its cluster",
		Long: `Makes a stopped agent the only member of its cluster, in a new epoch. Use it when the
majority is lost for good; 'interrex recover plan' shows what is lost with it.

It refuses while the agent runs, while another agent knows a leader or rejects this
one, and while the agents that respond would be a majority. It copies raft's
directory to DIR/before-recovery-TIME first. If it is interrupted, run it again.

The other members are removed: they and this agent reject each other, and clients do
not go back to them. To bring one back, stop it, make a token with 'interrex
join-token create', and run 'interrex agent join' there with its data directory.`,
		Example: `  interrex recover apply --data-dir /var/lib/interrex
  interrex recover apply --data-dir /var/lib/interrex --cluster-id ID --yes`,
		Args: arguments(0, "no arguments except --data-dir DIR"),
		RunE: func(c *cobra.Command, _ []string) error { return r.apply(c.Context()) },
	}
	flags := c.Flags()
	flags.StringVar(&r.dir, "data-dir", "", "the survivor's data directory")
	flags.StringVar(&r.config, "config", "", "the agent's configuration file (default DIR/"+enrolment.ConfigName+")")
	flags.StringVar(&r.clusterID, "cluster-id", "", "the ID of the cluster, in place of typing it")
	flags.BoolVar(&r.yes, "yes", false, "ask nothing; needs --cluster-id")
	return c
}

// rescuer is one `interrex recover apply`.
type rescuer struct {
	app                    *app
	dir, config, clusterID string
	yes                    bool
}

func (r *rescuer) apply(ctx context.Context) error {
	switch {
	case r.dir == "":
		return usageError{errors.New("--data-dir is missing: give the data directory of the survivor")}
	case r.yes && r.clusterID == "":
		return usageError{errors.New("--yes needs --cluster-id: 'interrex recover plan' shows it")}
	}
	all, err := recovery.Plan([]string{r.dir})
	if err != nil {
		return err
	}
	d := all[0]
	if err := d.Refusal(); err != nil {
		return fmt.Errorf("cannot recover %s: %w", r.dir, err)
	}
	logger := loggo.GetLogger("interrex.recover")
	st, members, err := assembly.NewState(logger)
	if err != nil {
		return err
	}
	is, err := datadir.Rescue(datadir.RecoverConfig{
		DataDir: r.dir, State: st, Logger: logger, Clock: clock.WallClock,
		Allow: func() error {
			c, err := r.cluster()
			if err != nil {
				return err
			}
			return r.allow(ctx, recovery.Reach{
				Directory: d, Cluster: c, State: st, Members: members, Clock: clock.WallClock, Logger: logger,
			})
		},
	})
	if err != nil {
		return err
	}
	return r.say(d, is)
}

// cluster returns the section of the agent's configuration that says how it reaches
// the others.
func (r *rescuer) cluster() (config.Cluster, error) {
	path := r.config
	if path == "" {
		path = filepath.Join(r.dir, enrolment.ConfigName)
	}
	c, err := config.Source{Path: path, Environ: os.Environ()}.Load()
	if err != nil {
		return config.Cluster{}, usageError{fmt.Errorf("the agent's configuration says how the other agents are reached, and cannot be used: --config names its file:\n%w", err)}
	}
	return c.Cluster, nil
}

// allow refuses a recovery that is not needed, or not wanted.
func (r *rescuer) allow(ctx context.Context, reach recovery.Reach) error {
	silent, err := reach.Absent(ctx)
	for _, one := range silent {
		r.app.say("no response from %s", one)
	}
	if err != nil {
		return err
	}
	d := reach.Directory
	r.app.say("%s", lost(d))
	typed := r.clusterID
	if typed == "" {
		fmt.Fprintf(r.app.messages, "Agent %s will continue as the only member, without %s. To confirm, type the ID of the cluster (%s): ", d.ID, others(d), d.ClusterID)
		line, err := bufio.NewReader(standardInput(ctx)).ReadString('\n')
		if err != nil {
			return r.app.interrupted(ctx, usageError{errors.New("nothing was typed, and nothing is changed: type the ID of the cluster, or give it in --cluster-id")})
		}
		typed = strings.TrimSpace(line)
	}
	if typed != d.ClusterID {
		return usageError{fmt.Errorf("this directory is of the cluster %s, not of %q: nothing is changed", d.ClusterID, typed)}
	}
	return nil
}

type rescuedDocument struct {
	ID      string `json:"id"`
	Cluster string `json:"cluster_id"`
	Backup  string `json:"backup"`
	recoveryDocument
}

// say says what was done.
func (r *rescuer) say(d *recovery.Directory, is *datadir.Rescued) error {
	document := rescuedDocument{d.ID, d.ClusterID, is.Backup, recoveryDocument{number(is.Epoch.Number), number(uint64(is.Loss.From)), number(uint64(is.Loss.To))}}
	kept := "an earlier recovery was completed"
	if is.Backup != "" {
		kept = "the files from before are in " + is.Backup
	}
	return r.app.done(document, `agent %s is the only member of cluster %s, in epoch %d; the revision went from %d to %d; %s

start it:
  interrex agent run --config %s
for at least 30s it grants nothing, and says for how long. Then bring the others back, each with
  interrex join-token create     (here)
  interrex agent join ADDRESS --token-file FILE --data-dir DIR     (there, while its agent is stopped)`,
		d.ID, d.ClusterID, is.Epoch.Number, is.Loss.From, is.Loss.To, kept, filepath.Join(r.dir, enrolment.ConfigName))
}
