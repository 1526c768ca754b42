package main

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/loggo"
	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/assembly"
	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/raftlog"
)

func newRepair(a *app) *cobra.Command {
	var dir string
	var apply bool
	c := &cobra.Command{
		Use:   "repair",
		Short: "Examine a damaged data directory, and repair it",
		Long: `Shows what can be verified in the data directory of a stopped agent: its log,
snapshots, term and vote, what is damaged, whether this binary can read all of it,
and what --apply would do. Without --apply nothing is changed. Before you go back to
an earlier interrex, run this with that one: "needs a later build" means that an agent
cannot go back with this directory.

--apply moves damaged files to raft/damaged, and keeps the rest. Term, vote and
floor stay: the agent does not forget what it has promised. If something is
missing that the other members have, they send it once the agent runs.

No other agent has what a single agent is missing, so --apply performs a recovery:
the cluster continues from what can be verified, in a new epoch. The operations of
the missing entries are lost, although they were acknowledged. The revision is
raised, so that tokens still increase; every lease ends; and nothing is granted for
the longest known ttl, at least 30s.

The exit code is 0 for every verdict; scripts read the verdict from -o name. It is
1 if the directory cannot be read or repaired, or an agent uses it.`,
		Example: `  interrex agent repair --data-dir /var/lib/interrex
  interrex agent repair --data-dir /var/lib/interrex --apply`,
		Args: arguments(0, "no arguments except --data-dir DIR"),
		RunE: func(*cobra.Command, []string) error {
			if dir == "" {
				return usageError{errors.New("--data-dir is missing: give the data directory of the agent")}
			}
			if apply {
				return a.repair(dir)
			}
			e, err := examined(dir)
			if err != nil {
				return err
			}
			return a.printExamination(dir, e, nil, "")
		},
	}
	c.Flags().StringVar(&dir, "data-dir", "", "the agent's data directory")
	c.Flags().BoolVar(&apply, "apply", false, "move damaged files aside; for a single agent with missing entries, recover")
	return c
}

// examined examines a directory, and whether this binary can read it.
func examined(dir string) (*datadir.Examination, error) {
	e, err := datadir.Examine(dir)
	if err != nil {
		return nil, err
	}
	return e, e.Read(dir, assembly.OwnTables)
}

// repair says what it is about to do, does it, and shows the result.
func (a *app) repair(dir string) error {
	e, err := examined(dir)
	if err != nil {
		return err
	}
	if e.Later != nil {
		return fmt.Errorf("cannot repair %s: %s", dir, planned(e))
	}
	for _, note := range e.Notes {
		a.say("%s", note)
	}
	a.say("%s", planned(e))
	is := done(e)
	logger := loggo.GetLogger("interrex.repair")
	st, _, err := assembly.NewState(logger)
	if err != nil {
		return err
	}
	recovered, err := datadir.Repair(datadir.RecoverConfig{DataDir: dir, State: st, Logger: logger, Clock: clock.WallClock})
	if err != nil {
		return err
	}
	if e, err = datadir.Examine(dir); err != nil {
		return err
	}
	return a.printExamination(dir, e, recovered, is)
}

// done says what --apply has done, and what remains to be done.
func done(e *datadir.Examination) string {
	switch e.Verdict {
	case datadir.Lost:
		return "recovered; start the agent: until the pause after a recovery is over it rejects claims, and says for how long"
	case datadir.Waits:
		return fmt.Sprintf("damaged files are in raft/damaged; start the agent: the other members send it the entries %s", missing(e))
	case datadir.Damaged:
		return "damaged files are in raft/damaged; start the agent"
	}
	return "nothing: no damage was found"
}

// planned says what --apply would do.
func planned(e *datadir.Examination) string {
	switch e.Verdict {
	case datadir.Wiped:
		return "nothing can be repaired: this agent no longer knows what it has promised (its term, vote and floor), so the disk counts as wiped: " + withWipedDisk(e)
	case datadir.Later:
		return fmt.Sprintf("nothing: %v: run the interrex that wrote it, or a later one", e.Later)
	case datadir.Lost:
		return fmt.Sprintf("a recovery; keep a copy of the directory first: this agent is the only voter, and no other agent has what is missing. The cluster continues from %s in a new epoch; the operations that were acknowledged after that, in the entries %s, are lost. The revision is raised, so that tokens still increase; all leases end; and nothing is granted for the longest known ttl, at least 30s", proved(e.End), missing(e))
	case datadir.Waits:
		return fmt.Sprintf("damaged files are moved to raft/damaged, and no recovery is made: the other members have the entries %s. Start the agent: it is in quarantine until they have sent them, usually within seconds", missing(e))
	case datadir.Damaged:
		return "damaged files are moved to raft/damaged; none of them is needed: start the agent"
	}
	return "there is nothing to do: start the agent"
}

// withWipedDisk says what to do with an agent whose disk counts as wiped.
func withWipedDisk(e *datadir.Examination) string {
	if e.Alone {
		return "restore the newest copy of the directory, or start a new cluster with an empty one"
	}
	return "restore the newest copy of the directory; the other members reject an empty one, and continue without this agent"
}

// proved names the last entry that can be verified.
func proved(p raftlog.Position) string {
	if p == (raftlog.Position{}) {
		return "nothing"
	}
	return p.String()
}

// missing names the entries between the last that can be verified and the floor.
func missing(e *datadir.Examination) string {
	if first := e.End.Index + 1; first < e.Floor.Index {
		return fmt.Sprintf("%d to %d", first, e.Floor.Index)
	}
	return fmt.Sprintf("up to %s", e.Floor.Position)
}

// number is a 64-bit number in JSON.
func number(n uint64) string { return strconv.FormatUint(n, 10) }

type placeDocument struct {
	Term  string `json:"term"`
	Index string `json:"index"`
}

func placeOf(p raftlog.Position) placeDocument {
	return placeDocument{number(p.Term), number(p.Index)}
}

type repairDocument struct {
	DataDir   string            `json:"data_dir"`
	ID        string            `json:"id"`
	Cluster   string            `json:"cluster_id"`
	Epoch     string            `json:"epoch"`
	Version   int               `json:"version"`
	Term      string            `json:"term"`
	VoteTerm  string            `json:"vote_term"`
	Vote      string            `json:"vote"`
	Floor     placeDocument     `json:"floor"`
	End       placeDocument     `json:"end"`
	Snapshot  placeDocument     `json:"snapshot"`
	First     string            `json:"first_entry"`
	Last      string            `json:"last_entry"`
	Members   []string          `json:"members"`
	Alone     bool              `json:"alone"`
	Short     bool              `json:"short"`
	Copied    bool              `json:"copied"`
	Damage    []string          `json:"damage"`
	Forgotten string            `json:"forgotten"`
	Later     string            `json:"later"`
	Verdict   string            `json:"verdict"`
	Would     string            `json:"apply"`
	Recovered *recoveryDocument `json:"recovered"`
}

type recoveryDocument struct {
	Epoch    string `json:"epoch"`
	From     string `json:"proved_revision"`
	Revision string `json:"revision"`
}

// printExamination shows what a directory holds; after --apply also what was
// recovered, if anything, and in place of what --apply would do what it has done.
func (a *app) printExamination(dir string, e *datadir.Examination, r *datadir.Recovery, done string) error {
	d := repairDocument{
		DataDir: filepath.Clean(dir), ID: e.ID, Cluster: e.ClusterID, Epoch: number(e.Epoch.Number), Version: e.Version,
		Term: number(e.Term), VoteTerm: number(e.VoteTerm), Vote: e.Candidate,
		Floor: placeOf(e.Floor.Position), End: placeOf(e.End), Snapshot: placeOf(e.Snapshot), First: number(e.First), Last: number(e.Last),
		Members: []string{}, Alone: e.Alone, Short: e.Short(), Copied: e.Copied, Damage: append([]string{}, e.Notes...),
		Verdict: string(e.Verdict), Would: planned(e),
	}
	for _, s := range e.Members.Servers {
		d.Members = append(d.Members, memberOf(s))
	}
	if e.Forgotten != nil {
		d.Forgotten = e.Forgotten.Error()
	}
	if e.Later != nil {
		d.Later = e.Later.Error()
	}
	if r != nil {
		d.Recovered = &recoveryDocument{number(r.Epoch.Number), number(uint64(r.Loss.From)), number(uint64(r.Loss.To))}
	}
	return a.print(d, d.table(e, done), d.Verdict)
}

func memberOf(s raft.Server) string {
	if s.Suffrage == raft.Voter {
		return string(s.ID)
	}
	return string(s.ID) + " (not a voter)"
}

// table returns the same in words.
func (d *repairDocument) table(e *datadir.Examination, done string) (t table) {
	row := func(name, format string, args ...any) {
		t.rows = append(t.rows, []string{name, fmt.Sprintf(format, args...)})
	}
	row("directory", "%s, version %d", d.DataDir, d.Version)
	row("agent", "%s, epoch %s of cluster %s", d.ID, d.Epoch, cmp.Or(d.Cluster, "none yet"))
	switch {
	case len(d.Members) == 0:
		row("members", "none can be verified")
	default:
		row("members", "%s", strings.Join(d.Members, ", "))
	}
	row("only voter", "%s", yesOrNo(d.Alone))
	if d.Forgotten == "" {
		row("term", "%s, last vote %s", d.Term, voteText(d.Vote, d.VoteTerm))
		row("has stored", "%s", proved(e.Floor.Position))
	}
	row("verified", "%s", proved(e.End))
	row("snapshot", "%s", proved(e.Snapshot))
	if e.Last > 0 {
		row("entries", "%s to %s", d.First, d.Last)
	} else {
		row("entries", "none")
	}
	for _, note := range d.Damage {
		row("damage", "%s", note)
	}
	if d.Forgotten != "" {
		row("lost", "%s", d.Forgotten)
	}
	if d.Later != "" {
		row("later", "%s", d.Later)
	}
	if d.Copied {
		row("place", "the directory was copied or moved, and may be an older copy%s", trustedAgain(d.Alone))
	}
	if r := d.Recovered; r != nil {
		row("recovered", "epoch %s, from revision %s to %s", r.Epoch, r.From, r.Revision)
	}
	row("verdict", "%s", d.Verdict)
	if done == "" {
		row("--apply", "%s", d.Would)
	} else {
		row("done", "%s", done)
	}
	return t
}

// trustedAgain says when a copy takes part again.
func trustedAgain(alone bool) string {
	if alone {
		return ""
	}
	return ": the agent takes part again once it has connected to every other member"
}

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func voteText(vote, term string) string {
	if vote == "" {
		return "none"
	}
	return "for " + vote + " in term " + term
}
