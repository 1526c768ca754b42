package clusterer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/state"
)

const (
	// every is the pause between two looks.
	every = time.Second
	// changeTimeout bounds one change of raft's configuration, or one proposal.
	changeTimeout = 10 * time.Second
	// silentAfter is how long an agent may be silent and still count as alive.
	silentAfter = 5 * time.Second
	// DeadAfter is how long a voter must be silent before a spare may replace it.
	DeadAfter = 2 * time.Minute
)

// Raft is the part of *raft.Raft that is used.
type Raft interface {
	GetConfiguration() raft.ConfigurationFuture
	CommitIndex() uint64
	AddNonvoter(id raft.ServerID, address raft.ServerAddress, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	AddVoter(id raft.ServerID, address raft.ServerAddress, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	DemoteVoter(id raft.ServerID, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	RemoveServer(id raft.ServerID, prevIndex uint64, timeout time.Duration) raft.IndexFuture
	LeadershipTransferToServer(id raft.ServerID, address raft.ServerAddress) raft.Future
}

// Sight is what this agent sees of one agent, itself included.
type Sight struct {
	ID, Incarnation            string
	ClusterAddress, APIAddress string
	Version                    string
	Tables                     map[string]uint16
	Certificate                member.Certificate
	Silent                     time.Duration // since it was last heard
	Match                      uint64        // the log index up to which it has this leader's entries
	Fit                        bool          // it may lead
}

// Config is the configuration of a Worker.
type Config struct {
	ID    string // of this agent
	Raft  Raft
	Table *member.Table
	// Look returns what this agent sees of those that it has met, and of itself. It
	// must not block.
	Look func() []Sight
	// Founders returns the disks of the cluster's founders, by ID, if those that the
	// leader has not seen are to be recorded too; nil: they are not. It must not block.
	// Optional.
	Founders func() map[string]string
	// Propose has a command of the table of members applied, within ctx.
	Propose func(ctx context.Context, c state.Command) error
	// Prepare gives an agent what it needs to have a vote, within ctx, before it gets
	// one.
	Prepare func(ctx context.Context, id string) error
	Clock   clock.Clock
	Logger  interrex.Logger
}

// Validate returns an error for the first field that is not valid.
func (c Config) Validate() error {
	switch {
	case c.ID == "":
		return errors.New("empty ID not valid")
	case c.Raft == nil:
		return errors.New("nil Raft not valid")
	case c.Table == nil:
		return errors.New("nil Table not valid")
	case c.Look == nil:
		return errors.New("nil Look not valid")
	case c.Propose == nil:
		return errors.New("nil Propose not valid")
	case c.Prepare == nil:
		return errors.New("nil Prepare not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	}
	return nil
}

// Worker changes raft's configuration, on the agent that leads.
type Worker struct {
	catacomb catacomb.Catacomb
	config   Config
	began    time.Time
	commit   uint64 // the commit index at the previous look
	retried  Step   // the step that has failed and is taken again; its kind None: none is

	mu     sync.Mutex
	step   Step   // under way; its kind None: none is
	failed string // why the last one failed; empty: it did not
}

// NewWorker starts a Worker.
func NewWorker(c Config) (*Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot start the clusterer: %w", err)
	}
	w := &Worker{config: c, began: c.Clock.Now()}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, err
	}
	return w, nil
}

// Kill is part of worker.Worker.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait is part of worker.Worker.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Step returns the change that is under way, and why the last one failed; empty: it
// did not.
func (w *Worker) Step() (now Step, failed string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.step, w.failed
}

// Report is part of worker.Reporter.
func (w *Worker) Report() map[string]any {
	step, failed := w.Step()
	r := map[string]any{"phase": step.Kind.String()}
	if step.Kind != None {
		r["member"] = step.ID
	}
	if failed != "" {
		r["last-error"] = failed
	}
	return r
}

func (w *Worker) note(s Step, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.step = s; s.Kind != None {
		return
	}
	w.failed = ""
	if err != nil {
		w.failed = err.Error()
	}
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	var failure logs.Failure
	for {
		changed, err := w.look(ctx)
		if failure.New(err) {
			w.config.Logger.Warningf("%v; trying again", err)
		}
		pause := every
		if changed && err == nil {
			pause = 0
		}
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-w.config.Clock.After(pause):
		}
	}
}

// look takes at most one step, and reports whether it did.
func (w *Worker) look(ctx context.Context) (changed bool, err error) {
	future := w.config.Raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return false, fmt.Errorf("cannot read raft's configuration: %w", err)
	}
	sights := map[string]Sight{}
	for _, s := range w.config.Look() {
		sights[s.ID] = s
	}
	commit := w.commit
	w.commit = w.config.Raft.CommitIndex()
	if c := w.news(future.Configuration(), sights); c != nil {
		return true, w.record(ctx, c)
	}
	s := Next(w.agents(future.Configuration(), sights, commit), DeadAfter)
	if s.Kind == None || (s.Kind == Demote || s.Kind == Remove) && !w.confirmed(ctx, s, future.Configuration(), commit) {
		return false, nil
	}
	if s.Kind != w.retried.Kind || s.ID != w.retried.ID {
		w.config.Logger.Infof("members: %s %s: %s", s.Kind, s.ID, s.Why)
	}
	w.note(s, nil)
	err = w.take(ctx, s, future.Index())
	w.note(Step{}, err)
	w.retried = Step{}
	if err != nil {
		w.retried = s
		return false, fmt.Errorf("members: %s %s failed: %w", s.Kind, s.ID, err)
	}
	return true, nil
}

// confirmed waits until the others have answered what was sent from now on, and reports
// whether the step is still right then: a voter that has just died is not silent for long
// enough yet to be called so.
func (w *Worker) confirmed(ctx context.Context, s Step, c raft.Configuration, commit uint64) bool {
	for began := w.config.Clock.Now(); ; {
		took := w.config.Clock.Now().Sub(began)
		sights := map[string]Sight{}
		for _, one := range w.config.Look() {
			if one.ID != w.config.ID && one.Silent > took {
				one.Silent = max(one.Silent, silentAfter+1)
			}
			sights[one.ID] = one
		}
		if now := Next(w.agents(c, sights, commit), DeadAfter); now.Kind == s.Kind && now.ID == s.ID {
			return true
		}
		if took > respondWithin {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-w.config.Clock.After(20 * time.Millisecond):
		}
	}
}

// respondWithin is how long the others have to answer before one of them goes. A leader
// sends them something every tenth of a heartbeat timeout.
const respondWithin = 2 * time.Second

// news returns the command that records what is new of an agent; nil: nothing is. The
// founders of a cluster without a CA of its own are recorded once something is to be
// changed: until then raft's configuration says it all.
func (w *Worker) news(c raft.Configuration, sights map[string]Sight) *member.See {
	var founders map[string]string
	if w.config.Founders != nil {
		founders = w.config.Founders()
	}
	recording := w.config.Table.CA() != "" || len(w.config.Table.Members()) > 0 || founders != nil
	for _, id := range slices.Sorted(maps.Keys(sights)) {
		sight, row := sights[id], w.config.Table.Member(id)
		founder := row == nil && has(c, id) && recording
		if sight.Silent > silentAfter || sight.Incarnation == "" || row == nil && !founder ||
			w.config.Table.Removed(id, sight.Incarnation) || has(c, id) && w.leaves(id) {
			continue
		}
		see := &member.See{
			ID: id, Incarnation: sight.Incarnation, ClusterAddress: sight.ClusterAddress, APIAddress: sight.APIAddress, Version: sight.Version,
			Certificate: sight.Certificate,
		}
		if row != nil {
			see.Was = row.Incarnation
		}
		if see.Was != "" && see.Was != see.Incarnation {
			continue // a disk that the cluster does not know
		}
		for _, name := range slices.Sorted(maps.Keys(sight.Tables)) {
			see.Tables = append(see.Tables, member.TableVersion{Name: name, Version: sight.Tables[name]})
		}
		if see.News(w.config.Table) {
			return see
		}
	}
	for _, id := range slices.Sorted(maps.Keys(founders)) {
		if w.config.Table.Member(id) == nil && has(c, id) && !w.config.Table.WasRemoved(id) {
			return &member.See{ID: id, Incarnation: founders[id]}
		}
	}
	return nil
}

func has(c raft.Configuration, id string) bool {
	return slices.ContainsFunc(c.Servers, func(s raft.Server) bool { return string(s.ID) == id })
}

// leaves reports whether an agent of raft's configuration was removed. One of its ID
// that was admitted since then waits until it is out.
func (w *Worker) leaves(id string) bool {
	row := w.config.Table.Member(id)
	return w.config.Table.WasRemoved(id) && (row == nil || row.Incarnation == "")
}

func (w *Worker) record(ctx context.Context, c *member.See) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := w.config.Propose(ctx, c); err != nil {
		return fmt.Errorf("members: cannot record what is seen of %s: %w", c.ID, err)
	}
	return nil
}

// agents joins what raft's configuration, the table and the sights say. One that was
// never seen is silent since this agent leads.
func (w *Worker) agents(c raft.Configuration, sights map[string]Sight, commit uint64) []Agent {
	all, leading := map[string]*Agent{}, w.config.Clock.Now().Sub(w.began)
	of := func(id string) *Agent {
		if all[id] == nil {
			all[id] = &Agent{ID: id, Leader: id == w.config.ID, Silent: leading}
		}
		return all[id]
	}
	for _, s := range c.Servers {
		a := of(string(s.ID))
		a.InRaft, a.Voter = true, s.Suffrage == raft.Voter
	}
	for _, m := range w.config.Table.Members() {
		a := of(m.ID)
		a.Admitted, a.NonVoter, a.Seen = true, m.NonVoter, m.Incarnation != ""
	}
	for id, a := range all {
		w.complete(a, sights[id], commit)
	}
	var list []Agent
	for _, a := range all {
		list = append(list, *a)
	}
	return list
}

// complete sets what is seen of an agent.
func (w *Worker) complete(a *Agent, sight Sight, commit uint64) {
	row := w.config.Table.Member(a.ID)
	a.Removed = a.InRaft && w.leaves(a.ID)
	if sight.ID == "" {
		return
	}
	same := row != nil && row.Incarnation == sight.Incarnation
	a.Silent = sight.Silent
	a.Alive = a.Leader || same && sight.Silent <= silentAfter
	a.CaughtUp = a.Leader || commit > 0 && sight.Match >= commit
	a.Fit = sight.Fit
}

// take takes a step. prev is the index of the configuration that it was planned on:
// raft refuses the change if another came in between.
func (w *Worker) take(ctx context.Context, s Step, prev uint64) error {
	id, address := raft.ServerID(s.ID), raft.ServerAddress(s.ID)
	var future raft.Future
	switch s.Kind {
	case AddNonvoter:
		future = w.config.Raft.AddNonvoter(id, address, prev, changeTimeout)
	case Promote:
		if err := w.prepare(ctx, s.ID); err != nil {
			return err
		}
		future = w.config.Raft.AddVoter(id, address, prev, changeTimeout)
	case Demote:
		future = w.config.Raft.DemoteVoter(id, prev, changeTimeout)
	case Remove:
		future = w.config.Raft.RemoveServer(id, prev, changeTimeout)
	case HandOver:
		future = w.config.Raft.LeadershipTransferToServer(id, address)
	default:
		return fmt.Errorf("unknown step %v", s.Kind)
	}
	return w.await(ctx, future)
}

func (w *Worker) prepare(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	return w.config.Prepare(ctx, id)
}

// await waits for a change: raft may not answer while it stops (hashicorp/raft#145).
func (w *Worker) await(ctx context.Context, future raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- future.Error() }() // ends with raft
	select {
	case err := <-done:
		return err
	case <-w.config.Clock.After(changeTimeout):
		return fmt.Errorf("it took longer than %v; whether it happened is seen at the next look", changeTimeout)
	case <-ctx.Done():
		return errors.New("this agent no longer leads: whether it happened is seen by the next leader")
	}
}
