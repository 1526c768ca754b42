package rotation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/state"
)

const (
	// every is the pause between two looks.
	every = 500 * time.Millisecond
	// timeout bounds one step.
	timeout = 10 * time.Second
	// handOverPause is the pause between two attempts to hand leadership over.
	handOverPause = 15 * time.Second
)

// Config is the configuration of a Worker.
type Config struct {
	Table *member.Table
	// Look returns what this agent sees of the cluster. It must not block.
	Look func() Cluster
	// Keep puts the key of a CA on this agent's disk.
	Keep func(ca *authority.Authority) error
	// Propose has a command of the table of members applied, within ctx.
	Propose func(ctx context.Context, c state.Command) error
	// HandOver makes another agent lead, within ctx.
	HandOver func(ctx context.Context, id string) error
	Clock    clock.Clock
	Logger   interrex.Logger
}

// Worker rotates the cluster's CA, on the agent that leads.
type Worker struct {
	catacomb catacomb.Catacomb
	config   Config
	handed   time.Time            // when it last tried to hand leadership over
	made     *authority.Authority // the CA that it last made, and for which step
	madeFor  member.Step

	mu      sync.Mutex
	waiting []string // the members that the phase waits for, in order
	failed  string   // why the last step failed; empty: it did not
	failure logs.Failure
}

// NewWorker starts a Worker.
func NewWorker(c Config) (*Worker, error) {
	w := &Worker{config: c}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot start to rotate the CA: %w", err)
	}
	return w, nil
}

// Kill is part of worker.Worker.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait is part of worker.Worker.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Report is part of worker.Reporter.
func (w *Worker) Report() map[string]any {
	r := map[string]any{"phase": "none"}
	if now := w.config.Table.Rotation(); now != nil {
		r["phase"] = now.Phase.String()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) > 0 {
		r["waiting-for"] = strings.Join(w.waiting, ", ")
	}
	if w.failed != "" {
		r["last-error"] = w.failed
	}
	return r
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	for {
		err := w.look(ctx)
		w.note(err)
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-w.config.Clock.After(every):
		}
	}
}

// note notes how a look has ended, and logs what is new.
func (w *Worker) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed = ""; err != nil {
		w.failed = err.Error()
	}
	if w.failure.New(err) {
		w.config.Logger.Warningf("%v; trying again", err)
	}
}

// look takes at most one step.
func (w *Worker) look(ctx context.Context) error {
	s := Next(w.config.Look())
	w.noteWaiting(s.Waiting)
	now, _ := w.config.Table.Step()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch s.Kind {
	case Offer:
		return w.offer(ctx, now)
	case Advance:
		if err := w.config.Propose(ctx, &member.AdvanceCA{Step: now}); err != nil {
			return fmt.Errorf("cannot end phase %s of the CA's rotation: %w", now.Phase, err)
		}
		w.config.Logger.Infof("the CA's rotation: phase %s is complete", now.Phase)
	case HandOver:
		return w.handOver(ctx, s.ID)
	}
	return nil
}

// offer makes the next CA. Its key is on the disk before the others know of it. If the
// offer fails, the same CA is offered again: each that is made leaves a key behind.
func (w *Worker) offer(ctx context.Context, now member.Step) error {
	var err error
	if w.made == nil || w.madeFor != now {
		w.madeFor = now
		w.made, err = authority.New(w.config.Clock.Now())
	}
	if err == nil {
		err = w.config.Keep(w.made)
	}
	if err == nil {
		err = w.config.Propose(ctx, &member.OfferCA{Step: now, Cert: string(w.made.Cert())})
	}
	if err != nil {
		return fmt.Errorf("cannot make the next CA: %w", err)
	}
	w.config.Logger.Infof("the CA's rotation: the next CA is %v", w.made.Pin())
	return nil
}

func (w *Worker) handOver(ctx context.Context, id string) error {
	if now := w.config.Clock.Now(); now.Sub(w.handed) >= handOverPause {
		w.handed = now
		w.config.Logger.Infof("this agent leads, and lacks the CA's key: handing leadership over to %s, which has it", id)
		return w.config.HandOver(ctx, id)
	}
	return nil
}

// noteWaiting logs which members the phase waits for, when these are others than before.
func (w *Worker) noteWaiting(waiting map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := slices.Sorted(maps.Keys(waiting))
	if len(ids) > 0 && !slices.Equal(ids, w.waiting) {
		w.config.Logger.Infof("the CA's rotation waits for %s", Describe(waiting))
	}
	w.waiting = ids
}
