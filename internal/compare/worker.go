package compare

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/machine"
)

// The times of a Worker.
const (
	dueEvery    = time.Second            // between two looks whether a comparison is due
	retryEvery  = 10 * time.Second       // after a comparison could not be begun
	proposeTime = 10 * time.Second       // of a proposal
	firstPause  = 200 * time.Millisecond // between two exchanges with those that have no report yet
	longPause   = 5 * time.Second        // the same, after some
	reportTime  = 30 * time.Second       // how long the reports of others are waited for
	atOnce      = 16                     // exchanges at a time
)

// Config is the configuration of a Worker. All fields are required.
type Config struct {
	ID    string
	Board *Board
	Raft  interface {
		GetConfiguration() raft.ConfigurationFuture
	}
	// Revision returns that of the state.
	Revision func() interrex.Revision
	// Schedule returns how often states are compared: after a time, or a number of
	// revisions, whichever is first; on is whether they are, as far as this agent decides.
	Schedule func() (on bool, every time.Duration, revisions uint64)
	// Leads reports whether this agent leads, and every member can apply a Compare.
	Leads func(members []raft.Server) bool
	// Propose puts a Compare into the log.
	Propose func(context.Context) error
	// Exchange gives this agent's report to another one, and returns that one's.
	Exchange func(ctx context.Context, peer string, mine Report) (Report, error)
	// Condemn ends the use of this agent's state, and has it filled anew.
	Condemn func(why error)
	Metrics *Metrics
	Clock   clock.Clock
	Logger  interface {
		Debugf(format string, args ...any)
		Warningf(format string, args ...any)
		Errorf(format string, args ...any)
	}
}

// Worker takes part in comparisons, and begins them where this agent leads.
type Worker struct {
	catacomb catacomb.Catacomb
	config   Config
	rest     time.Time // when a comparison may be begun again
}

// NewWorker starts a Worker.
func NewWorker(c Config) (*Worker, error) {
	w := &Worker{config: c}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot start to compare states: %w", err)
	}
	return w, nil
}

// Kill is part of worker.Worker.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait is part of worker.Worker.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	for {
		frozen, next := w.config.Board.take()
		if frozen != nil {
			if err := w.compare(ctx, frozen, next); err != nil {
				return err
			}
		}
		w.begin(ctx)
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-next:
		case <-w.config.Clock.After(dueEvery):
		}
	}
}

// begin begins a comparison where this agent leads, and one is due.
func (w *Worker) begin(ctx context.Context) {
	on, every, revisions := w.config.Schedule()
	if !on || !w.config.Board.due(w.config.Revision(), every, revisions) || w.config.Clock.Now().Before(w.rest) {
		return
	}
	members, err := w.members()
	if err != nil || len(members) < 2 || !w.config.Leads(members) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTime)
	defer cancel()
	if err := w.config.Propose(ctx); err != nil {
		w.rest = w.config.Clock.Now().Add(retryEvery)
		w.config.Logger.Warningf("cannot compare the members' states now: %v", err)
	}
}

func (w *Worker) members() ([]raft.Server, error) {
	future := w.config.Raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, err
	}
	return future.Configuration().Servers, nil
}

// compare hashes a frozen state, and compares it with those of the others, until next is
// closed at the latest. The error is the worker's end.
func (w *Worker) compare(ctx context.Context, f *machine.Frozen, next <-chan struct{}) error {
	began := w.config.Clock.Now()
	hashes, err := f.Hashes(Throttle(ctx, w.config.Clock))
	f.Release()
	if ctx.Err() != nil {
		return w.catacomb.ErrDying()
	}
	if err != nil {
		w.config.Logger.Errorf("%v", err)
		return nil
	}
	hashed := w.config.Clock.Now()
	w.config.Metrics.hashed(hashed.Sub(began))
	mine := Report{At: f.Entry, Sections: hashes}
	w.config.Board.note(w.config.ID, mine)
	deadline := hashed.Add(max(reportTime, hashed.Sub(began))) // others may take as long
	for round := 0; ; round++ {
		complete, err := w.round(ctx, mine, !w.config.Clock.Now().Before(deadline))
		if complete || err != nil {
			return err
		}
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-next:
			return nil
		case <-w.config.Clock.After(backoff.Doubled(firstPause, longPause, round)):
		}
	}
}

// round exchanges reports with those whose report is missing, judges what there is, and
// reports whether the comparison is complete: at the latest the last time.
func (w *Worker) round(ctx context.Context, mine Report, last bool) (complete bool, err error) {
	members, err := w.members()
	if err != nil {
		return false, fmt.Errorf("cannot compare states: %w", err)
	}
	w.exchange(ctx, mine, w.missing(mine.At, members))
	reports, voters := w.present(mine.At, members)
	found := Judge(reports, voters)
	why := w.condemnation(mine, found)
	c := comparison(mine.At, reports, found)
	c.At, c.Missing = w.config.Clock.Now(), w.missing(mine.At, members)
	c.Complete = last || why != nil || len(c.Missing) == 0
	w.config.Board.show(c)
	if !c.Complete {
		return false, nil
	}
	for _, d := range c.Differences {
		w.config.Logger.Errorf("the states of members differ at log index %d: %s", c.LogIndex, d)
	}
	w.config.Metrics.compared(c)
	if why != nil {
		w.config.Condemn(why)
	}
	return true, nil
}

// present returns the reports of those that are members now, and the voters.
func (w *Worker) present(at machine.ComparedEntry, members []raft.Server) (reports map[string]Report, voters []string) {
	reports = map[string]Report{}
	all := w.config.Board.reports(at)
	for _, s := range members {
		id := string(s.ID)
		if r, has := all[id]; has {
			reports[id] = r
		}
		if s.Suffrage == raft.Voter {
			voters = append(voters, id)
		}
	}
	return reports, voters
}

// missing returns the members without a report on an entry.
func (w *Worker) missing(at machine.ComparedEntry, members []raft.Server) (ids []string) {
	has := w.config.Board.reports(at)
	for _, s := range members {
		if _, reported := has[string(s.ID)]; !reported {
			ids = append(ids, string(s.ID))
		}
	}
	slices.Sort(ids)
	return ids
}

// exchange exchanges reports with some members.
func (w *Worker) exchange(ctx context.Context, mine Report, with []string) {
	for some := range slices.Chunk(with, atOnce) {
		var all sync.WaitGroup
		for _, id := range some {
			all.Go(func() {
				theirs, err := w.config.Exchange(ctx, id, mine)
				if err != nil {
					w.config.Logger.Debugf("no hashes of %s yet: %v", id, err)
					return
				}
				w.config.Board.note(id, theirs)
			})
		}
		all.Wait()
	}
}

// condemnation returns why this agent's state must not be used any more; nil: it does not
// differ from that of a majority.
func (w *Worker) condemnation(mine Report, found []Difference) error {
	var why []string
	for _, d := range found {
		if slices.Contains(d.Deviants(), w.config.ID) {
			why = append(why, d.String())
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("the state of this agent differed at log index %d: %s", mine.At.Index, strings.Join(why, "; "))
}
