package reads

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
)

// maxReaders limits how many readers wait for one round.
const maxReaders = 65536

// Rounds is the worker that proves leadership for strong reads. One round runs at a
// time; readers that arrive meanwhile share the next.
type Rounds struct {
	catacomb catacomb.Catacomb
	config   Config
	kick     chan struct{} // a round is wanted
	prod     chan struct{} // heartbeats are wanted

	mu     sync.Mutex
	next   *round // that new readers join; nil: there are no readers
	report report
}

// report is the source of Report.
type report struct {
	rounds, readers uint64
	took            time.Duration
	lastError       string
}

// New starts the worker.
func New(config Config) (*Rounds, error) {
	if err := config.Validate(); err != nil {
		return nil, fmt.Errorf("cannot start strong reads: %w", err)
	}
	config.Timeout = cmp.Or(config.Timeout, DefaultTimeout)
	r := &Rounds{config: config, kick: make(chan struct{}, 1), prod: make(chan struct{}, 1)}
	if err := catacomb.Invoke(catacomb.Plan{Site: &r.catacomb, Work: r.loop}); err != nil {
		return nil, fmt.Errorf("cannot start strong reads: %w", err)
	}
	return r, nil
}

// Kill implements worker.Worker.
func (r *Rounds) Kill() { r.catacomb.Kill(nil) }

// Wait implements worker.Worker.
func (r *Rounds) Wait() error { return r.catacomb.Wait() }

// Report describes the rounds for the engine's report. It never blocks.
func (r *Rounds) Report() map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := 0
	if r.next != nil {
		waiting = r.next.readers
	}
	return map[string]any{
		"rounds": r.report.rounds, "readers": r.report.readers, "waiting": waiting,
		"last-took": r.report.took.String(), "last-error": r.report.lastError,
	}
}

// Index returns the log index that must be applied for a linearizable read, on this
// agent or on the follower that requests it. Everything that was acknowledged before
// the call is at or below it. Index waits for at most the rest of the present round
// and one more, each bounded by Config.Timeout. Its errors are of ErrNotLeader,
// ErrUnavailable and ErrOverloaded, and of ErrTimeout when ctx ends first.
func (r *Rounds) Index(ctx context.Context) (uint64, error) {
	if err := r.leading(r.config.Raft.CurrentTerm()); err != nil {
		return 0, err
	}
	joined, err := r.join()
	if err != nil {
		return 0, err
	}
	select {
	case <-joined.done:
		return joined.index, joined.err
	case <-ctx.Done():
		return 0, interrex.Errorf(interrex.ErrTimeout, "cannot read strongly: the caller's deadline has passed").WithCause(ctx.Err())
	case <-r.catacomb.Dying():
		return 0, r.stopping()
	}
}

// Read returns when the leader's own state may be read linearizably: it calls Index,
// and waits until that is applied here.
func (r *Rounds) Read(ctx context.Context) error {
	index, err := r.Index(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	if err := r.config.State.WaitApplied(ctx, index); err != nil {
		if interrex.KindOf(err) != "" {
			return err
		}
		return retryable(interrex.ErrUnavailable, "entry %d has not been applied on %s: %v", index, r.config.ID, err)
	}
	return nil
}

// join joins the round that starts next, never the running one, whose commit index
// may be older than what this reader has seen acknowledged.
func (r *Rounds) join() (*round, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
		select {
		case r.kick <- struct{}{}:
		default:
		}
	}
	if r.next.readers >= maxReaders {
		return nil, retryable(interrex.ErrOverloaded, "%d readers are waiting on %s, which is the limit", maxReaders, r.config.ID)
	}
	r.next.readers++
	return r.next, nil
}

func (r *Rounds) loop() error {
	var prodding sync.WaitGroup
	prodding.Go(r.prodLoop)
	defer prodding.Wait()
	for {
		select {
		case <-r.catacomb.Dying():
			return r.catacomb.ErrDying()
		case <-r.kick:
			r.run()
		}
	}
}

// run starts the round that readers have joined and answers them.
func (r *Rounds) run() {
	r.mu.Lock()
	now := r.next
	r.next = nil
	r.mu.Unlock()

	began := r.config.Clock.Now()
	now.index, now.err = r.prove()
	close(now.done)

	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.rounds++
	r.report.readers += uint64(now.readers)
	r.report.took = r.config.Clock.Now().Sub(began)
	r.report.lastError = ""
	if now.err != nil {
		r.report.lastError = now.err.Error()
		r.config.Logger.Debugf("a round for %d readers failed: %v", now.readers, now.err)
	}
}

// provoke requests heartbeats at once, unless such a request is pending.
func (r *Rounds) provoke() {
	select {
	case r.prod <- struct{}{}:
	default:
	}
}

// prodLoop has a goroutine of its own because raft takes these requests in its main
// loop: with a hung disk late, or only when it shuts down.
func (r *Rounds) prodLoop() {
	for {
		select {
		case <-r.catacomb.Dying():
			return
		case <-r.prod:
			r.config.Raft.VerifyLeader()
		}
	}
}

func (r *Rounds) stopping() error {
	return retryable(interrex.ErrUnavailable, "%s is stopping; try another agent", r.config.ID)
}
