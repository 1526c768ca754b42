package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/gen/interrexv1"
	consistent "github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/wording"
)

func newExplain(a *app) *cobra.Command {
	ttl := interrex.DefaultTTL
	c := &cobra.Command{
		Use:   "explain",
		Short: "Show what a fail-over costs, and what a ttl means",
		Long: `Shows the worst case of a fail-over from an agent's present configuration, its parts
added up, and what that means for a lease of a given ttl: when its holder must have
stopped, and when another holder can win.

It counts from the moment at which the leader's process ends, or is cut off. The other
voters, their disks and the network work; a second failure begins the count again. A
leader whose disk hangs leads on until a write has not returned for 5s.

` + operatorLong,
		Example: `  interrex lease explain --addr unix:///var/lib/interrex/interrex.sock
  interrex lease explain --ttl 5s -o json`,
		Args: arguments(0, "no arguments except --ttl D"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				e, err := explain(ctx, s, ttl)
				if err != nil {
					return err
				}
				return a.print(e, e.table(), wording.Duration(e.failOver))
			})
		},
	}
	c.Flags().Var(&duration{to: &ttl, least: interrex.MinTTL, most: interrex.MaxTTL}, "ttl", "the ttl of the lease to explain")
	return c
}

// explain queries an agent for what an explanation needs.
func explain(ctx context.Context, s session, ttl time.Duration) (*explanation, error) {
	text, err := s.client.Config(ctx)
	if err != nil {
		return nil, err
	}
	var conf struct {
		Cluster config.Cluster
		Raft    config.Raft
	}
	if err := yaml.Unmarshal([]byte(text), &conf); err != nil {
		return nil, fmt.Errorf("cannot read the agent's configuration: %w", err)
	}
	status, err := s.client.Status(ctx)
	if err != nil {
		return nil, err
	}
	return newExplanation(status, conf.Cluster.Timing, conf.Raft, ttl), nil
}

// seconds is a duration in JSON, as the API writes it.
type seconds time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d seconds) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%.3fs", time.Duration(d).Seconds()), nil
}

// part is one part of a fail-over.
type part struct {
	Name string  `json:"part"`
	Most seconds `json:"most"`
	Why  string  `json:"why"`
}

// explanation is the worst case of a fail-over, and what it means for a lease.
type explanation struct {
	Agent    string           `json:"agent"`
	Voters   int              `json:"voters"`
	Timing   string           `json:"timing"`
	Parts    []part           `json:"parts"` // none: no other agent can take over
	FailOver seconds          `json:"fail_over"`
	Lease    leaseExplanation `json:"lease"`

	failOver time.Duration
}

// leaseExplanation counts from the holder's last successful extend.
type leaseExplanation struct {
	TTL      seconds `json:"ttl"`
	Cancel   seconds `json:"context_ends"`
	Deadline seconds `json:"deadline"`
	Earliest seconds `json:"next_holder_earliest"`
	Latest   seconds `json:"next_holder_latest"`
	LeastTTL seconds `json:"least_ttl"` // with which a holder keeps its lease through the fail-over
	Kept     bool    `json:"kept"`      // ttl is no less
}

// newExplanation adds up the worst case. raft looks for its leader with a timer that
// runs for one to two timeouts; a contact that is a little younger than a timeout at one
// look is noticed only at the next.
func newExplanation(m *interrexv1.StatusResponse, timing string, r config.Raft, ttl time.Duration) *explanation {
	e := &explanation{Agent: m.GetId(), Timing: timing, Parts: []part{}}
	for _, member := range m.GetMembers() {
		if member.GetSuffrage() == "voter" {
			e.Voters++
		}
	}
	if e.Voters > 2 {
		heartbeat, election := wording.Duration(r.HeartbeatTimeout), wording.Duration(r.ElectionTimeout)
		e.Parts = []part{
			{"detection", seconds(3 * r.HeartbeatTimeout), "a voter hears nothing for the heartbeat timeout, " + heartbeat + ", and looks again at most twice that later; a quorum must have noticed"},
			{"election", seconds(2 * r.ElectionTimeout), "two candidates share the votes once, and one tries again after the election timeout, " + election + ", to twice that; otherwise it takes a round trip"},
			{"first entry", seconds(r.HeartbeatTimeout / 5), "the new leader has an entry of its own on the disks of a quorum; a disk and a network that need longer want longer timeouts"},
			{"client retry", seconds(consistent.MaxPause), "an agent that waits for the leader tries again"},
		}
	}
	for _, p := range e.Parts {
		e.failOver += time.Duration(p.Most)
	}
	e.FailOver = seconds(e.failOver)
	e.Lease = explainLease(ttl, e.failOver)
	return e
}

// The leader stamps the time on the log at least every tenth of the time to the next
// expiry, but no more often than leastStamp, and no less than mostStamp.
const (
	leastStamp = time.Second
	mostStamp  = time.Minute
)

func explainLease(ttl, failOver time.Duration) leaseExplanation {
	stamp := min(max(ttl/10, leastStamp), mostStamp)
	least := max(interrex.MinTTL, 3*failOver) // what is left after an extend, less the margin, with room for a retry
	return leaseExplanation{
		TTL: seconds(ttl), Cancel: seconds(ttl - hold.Margin(ttl)), Deadline: seconds(ttl),
		Earliest: seconds(ttl), Latest: seconds(ttl + failOver + stamp),
		LeastTTL: seconds(least), Kept: ttl >= least,
	}
}

// table returns the same in words.
func (e *explanation) table() table {
	if e.Voters == 0 {
		return table{rows: [][]string{{"fail-over", "unknown", e.Agent + " has no vote, and knows no voter: ask a member, on its socket"}}}
	}
	if len(e.Parts) == 0 {
		return table{rows: [][]string{
			{"fail-over", "none", fmt.Sprintf("%s is in a cluster of %s: if one ends, nothing is granted, and no lease ends, until it is back", e.Agent, wording.Count(e.Voters, "voter"))},
		}}
	}
	t := table{header: []string{"PART", "AT MOST", "BECAUSE"}}
	for _, p := range e.Parts {
		t.rows = append(t.rows, []string{p.Name, millis(p.Most), p.Why})
	}
	t.rows = append(t.rows, []string{"fail-over", millis(e.FailOver), fmt.Sprintf("in all, with %d voters and cluster.timing %s; a client connected to a machine that vanished, with its connections open, first waits 3000 ms for it", e.Voters, e.Timing)})
	l := e.Lease
	t.notes = [][]string{
		{"LEASE", "AFTER", "the holder's last successful extend; the ttl is " + wording.Duration(time.Duration(l.TTL))},
		{"work is told to stop", millis(l.Cancel), "the context ends a margin before the deadline; an extend is tried at every third of the ttl"},
		{"the holder's deadline", millis(l.Deadline), "a fail-over does not move it"},
		{"another can win, earliest", millis(l.Earliest), "never before that deadline"},
		{"another can win, latest", millis(l.Latest), "if the leader fails too: cluster time stands still during the fail-over, and since its last stamp"},
	}
	kept := "a living holder keeps its lease through a fail-over"
	if !l.Kept {
		kept = "a living holder may lose its lease by a fail-over: use a longer ttl, or shorter timeouts"
	}
	t.notes = append(t.notes, []string{"least ttl for a fail-over", millis(l.LeastTTL), kept})
	return t
}

// millis writes a duration in milliseconds, as the parts are added up.
func millis(d seconds) string { return fmt.Sprintf("%d ms", time.Duration(d).Milliseconds()) }
