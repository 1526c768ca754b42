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
	"github.com/interrex/interrex/internal/watch"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// How often positions are noted in the log, how often the hooks are looked
// through, and the bounds of a write of the positions and of the last one.
const (
	noteEvery  = time.Minute
	noteAfter  = 1000 // deliveries
	lookEvery  = time.Second
	noteWithin = 10 * time.Second
	lastWithin = time.Second
)

// WorkerConfig says what a Worker works with.
type WorkerConfig struct {
	Caller *Caller
	Table  *webhook.Table
	Ring   *watch.Ring
	Queue  *queue.Queue
	// Data makes the document of an event's value; nil: null. KindUnavailable is
	// tried again; after any other error the document is null.
	Data   func(*state.Event) ([]byte, error)
	Clock  clock.Clock
	Logger interrex.Logger
}

// Validate says which field is not valid.
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

// Worker tells hooks what has happened: each in order, at least once, each on a
// goroutine of its own, so that one that fails holds up nobody else. It is for
// the agent that leads, and notes in the log how far each has been told, once a
// minute or after 1 000 deliveries.
type Worker struct {
	config   WorkerConfig
	catacomb catacomb.Catacomb
	full     chan struct{} // there is enough to note

	mu      sync.Mutex
	tellers map[string]*teller
	told    int        // deliveries since positions were noted
	noting  sync.Mutex // one note at a time
}

// NewWorker starts a worker.
func NewWorker(c WorkerConfig) (*Worker, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("cannot tell webhooks: %w", err)
	}
	w := &Worker{config: c, full: make(chan struct{}, 1), tellers: map[string]*teller{}}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot tell webhooks: %w", err)
	}
	return w, nil
}

// Kill asks the worker to stop. Calls that are under way are ended.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait waits until the worker has stopped.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Report returns how far each hook has been told.
func (w *Worker) Report() map[string]any {
	r := map[string]any{}
	for _, p := range w.Progress() {
		r[p.Hook.Name] = map[string]any{"told-to": uint64(p.At), "skipped": p.Skipped}
	}
	return r
}

// Progress is how far one hook has been told.
type Progress struct {
	Hook *webhook.Hook
	At   interrex.Revision // everything up to here is delivered or skipped
	// SkippedFrom to SkippedTo were skipped last, at SkippedAt; zero: nothing was
	// since this agent leads. Skipped is how many revisions that were in all.
	SkippedFrom, SkippedTo interrex.Revision
	SkippedAt              time.Time
	Skipped                uint64
}

// Progress returns that of all hooks. It never blocks for long.
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
		if err := w.Note(bounded); err != nil {
			w.config.Logger.Infof("how far the webhooks were told is not noted yet: %v", err)
		}
		cancel()
	}
}

// last notes the positions once more; who leads next delivers less twice then.
// It fails where leadership is lost already, which does no harm.
func (w *Worker) last() {
	ctx, cancel := context.WithTimeout(context.Background(), lastWithin)
	defer cancel()
	_ = w.Note(ctx)
}

// reconcile starts and stops tellers, as the table's hooks say.
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

// delivered counts one.
func (w *Worker) delivered() {
	w.mu.Lock()
	w.told++
	full := w.told == noteAfter
	w.mu.Unlock()
	if full {
		w.noteSoon()
	}
}

// noteSoon has the positions noted without waiting for their time.
func (w *Worker) noteSoon() {
	select {
	case w.full <- struct{}{}:
	default:
	}
}

// Note writes into the log how far the hooks have been told, all in one
// operation; nothing, if nothing has changed.
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
	w.told = 0
	w.mu.Unlock()
	if len(c.Steps) == 0 {
		return nil
	}
	return w.propose(ctx, c)
}

// propose puts a command into the log of this agent, which leads.
func (w *Worker) propose(ctx context.Context, c state.Command) error {
	done := make(chan error, 1)
	w.config.Queue.Enqueue(ctx, &queue.Operation{
		Operation: state.Operation{Table: state.WebhookTable, Data: c.Append(nil)}, Command: c, Lane: c.About().Lane,
		Stop: ctx.Done(), Done: func(r state.Result) { done <- r.Err },
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
