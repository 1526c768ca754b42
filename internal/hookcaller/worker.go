package hookcaller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/logs"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// How often positions are recorded in the log, how often the table of hooks is
// checked, and the time limits of recording the positions, also for the last time.
const (
	noteEvery  = time.Minute
	noteAfter  = 1000 // deliveries
	lookEvery  = time.Second
	noteWithin = 10 * time.Second
	lastWithin = time.Second
)

// WorkerConfig configures a Worker.
type WorkerConfig struct {
	Caller *Caller
	Table  *webhook.Table
	Ring   *watch.Ring
	Queue  *queue.Queue
	// Data returns the JSON of an event's value; nil: null. It is called again after
	// ErrUnavailable; after any other error the value is sent as null.
	Data   func(*state.Event) ([]byte, error)
	Clock  clock.Clock
	Logger interrex.Logger
}

// Validate returns an error that names the field that is not valid.
func (c WorkerConfig) Validate() error {
	switch {
	case c.Caller == nil:
		return errors.New("nil Caller not valid")
	case c.Table == nil:
		return errors.New("nil Table not valid")
	case c.Ring == nil:
		return errors.New("nil Ring not valid")
	case c.Queue == nil:
		return errors.New("nil Queue not valid")
	case c.Data == nil:
		return errors.New("nil Data not valid")
	case c.Clock == nil:
		return errors.New("nil Clock not valid")
	case c.Logger == nil:
		return errors.New("nil Logger not valid")
	}
	return nil
}

// Worker delivers events to hooks: to each in order, at least once, on a goroutine of
// its own, so that a hook that fails does not delay the others. It runs on the
// leader, and records the positions in the log once a minute, or after 1 000
// deliveries.
type Worker struct {
	config   WorkerConfig
	catacomb catacomb.Catacomb
	full     chan struct{} // signals that the positions should be recorded

	mu         sync.Mutex
	tellers    map[string]*teller
	deliveries int        // deliveries since positions were recorded
	noting     sync.Mutex // held by Note
}

// NewWorker starts a worker.
func NewWorker(c WorkerConfig) (*Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot deliver to webhooks: %w", err)
	}
	w := &Worker{config: c, full: make(chan struct{}, 1), tellers: map[string]*teller{}}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot deliver to webhooks: %w", err)
	}
	return w, nil
}

// Kill asks the worker to stop. Calls in flight are cancelled.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait waits until the worker has stopped.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Report returns the position of each hook.
func (w *Worker) Report() map[string]any {
	r := map[string]any{}
	for _, p := range w.Progress() {
		r[p.Hook.Name] = map[string]any{"told-to": uint64(p.At), "skipped": p.Skipped}
	}
	return r
}

// Progress is the position of one hook.
type Progress struct {
	Hook *webhook.Hook
	At   interrex.Revision // everything up to here is delivered or skipped
	// SkippedFrom to SkippedTo is the range that was skipped last, at SkippedAt, which
	// is zero if nothing was skipped since this agent leads. Skipped is the total
	// number of skipped revisions.
	SkippedFrom, SkippedTo interrex.Revision
	SkippedAt              time.Time
	Skipped                uint64
}

// Progress returns the positions of all hooks. It never blocks for long.
func (w *Worker) Progress() []Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Progress
	for _, h := range w.config.Table.Hooks() {
		if t := w.tellers[h.Name]; t != nil {
			all = append(all, t.progress())
		}
	}
	return all
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	defer w.stopAll()
	noted := w.config.Clock.Now()
	var failure logs.Failure
	for {
		w.reconcile(ctx)
		select {
		case <-w.catacomb.Dying():
			w.stopAll()
			w.last()
			return w.catacomb.ErrDying()
		case <-w.full:
		case <-w.config.Clock.After(lookEvery):
			if w.config.Clock.Now().Sub(noted) < noteEvery {
				continue
			}
		}
		noted = w.config.Clock.Now()
		bounded, cancel := context.WithTimeout(ctx, noteWithin)
		if err := w.Note(bounded); failure.New(err) {
			w.config.Logger.Infof("cannot record the positions of webhooks yet: %v", err)
		}
		cancel()
	}
}

// last records the positions once more, so that the next leader repeats fewer
// deliveries. It does no harm that it fails if leadership is lost already.
func (w *Worker) last() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWithin)
	defer cancel()
	_ = w.Note(ctx)
}

// reconcile starts and stops tellers, so that there is one for each hook of the table
// that is called after events.
func (w *Worker) reconcile(ctx context.Context) {
	hooks := w.config.Table.Hooks()
	w.config.Caller.Forget(hooks)
	wanted := map[string]*webhook.Hook{}
	for _, h := range hooks {
		if h.When == interrex.WebhookAfter {
			wanted[h.Name] = h
		}
	}
	w.mu.Lock()
	running := map[string]*teller{}
	for name, t := range w.tellers {
		running[name] = t
	}
	w.mu.Unlock()
	for name, t := range running {
		if h := wanted[name]; h == nil || h.Revision != t.hook.Revision {
			t.stop()
			w.set(name, nil)
		}
	}
	for name, h := range wanted {
		old := running[name]
		if old != nil && old.hook.Revision == h.Revision {
			continue
		}
		t := newTeller(w, h)
		if old != nil && old.hook.Created == h.Created {
			t.resume(old.progress())
		}
		w.set(name, t)
		t.start(ctx)
	}
}

func (w *Worker) set(name string, t *teller) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t == nil {
		delete(w.tellers, name)
		return
	}
	w.tellers[name] = t
}

func (w *Worker) stopAll() {
	w.mu.Lock()
	all := make([]*teller, 0, len(w.tellers))
	for _, t := range w.tellers {
		all = append(all, t)
	}
	w.mu.Unlock()
	for _, t := range all {
		t.stop()
	}
}

// delivered counts a delivery.
func (w *Worker) delivered() {
	w.mu.Lock()
	w.deliveries++
	full := w.deliveries == noteAfter
	w.mu.Unlock()
	if full {
		w.noteSoon()
	}
}

// noteSoon makes the loop record the positions now.
func (w *Worker) noteSoon() {
	select {
	case w.full <- struct{}{}:
	default:
	}
}

// Note records the positions of all hooks in the log, in one operation, if any has
// changed.
func (w *Worker) Note(ctx context.Context) error {
	w.noting.Lock()
	defer w.noting.Unlock()
	c := &webhook.Advance{}
	for _, p := range w.Progress() {
		h := w.config.Table.Get(p.Hook.Name)
		if h == nil || h.Created != p.Hook.Created || h.When != interrex.WebhookAfter || p.At <= h.Position {
			continue
		}
		s := webhook.Step{Name: h.Name, Created: h.Created, To: p.At}
		if p.Skipped > h.Skipped {
			s.SkippedFrom, s.SkippedTo, s.Skipped = p.SkippedFrom, p.SkippedTo, p.Skipped-h.Skipped
		}
		c.Steps = append(c.Steps, s)
	}
	w.mu.Lock()
	w.deliveries = 0
	w.mu.Unlock()
	if len(c.Steps) == 0 {
		return nil
	}
	_, err := w.config.Queue.Propose(ctx, machine.WebhookTable, c)
	return err
}
