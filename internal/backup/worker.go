// Package backup owns the copies of the state that an agent makes by itself: when one is
// due, how it is made and verified, and which are kept.
package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/wording"
	"github.com/interrex/interrex/state"
)

const (
	// maxLook is the longest pause between two looks at the clock, which may be set.
	maxLook = time.Minute
	// waitPause is the pause while the agent is not ready, and firstPause and maxPause
	// are those after failures.
	waitPause  = time.Second
	firstPause = 5 * time.Second
	maxPause   = 10 * time.Minute
	// maxCopy is how long one copy may take.
	maxCopy = time.Hour
	// maxStop is how long a copy may take to end when the worker is stopped: a disk that
	// hangs does not keep the agent.
	maxStop = 5 * time.Second
	// firstGrace is how long there may be no copy at all.
	firstGrace = 5 * time.Minute
)

// Config is the configuration of a Worker.
type Config struct {
	Dir, DataDir string // of the copies; of the agent, empty: none
	Every        time.Duration
	Keep         int
	Agent        string // its ID
	// Cluster returns the cluster's ID, and why no copy can be made now. It must not
	// block.
	Cluster func() (id string, err error)
	// Freeze returns the present state.
	Freeze func() (raft.FSMSnapshot, error)
	// Fresh returns empty tables, other ones at each call.
	Fresh func() []state.Table
	// Failed is called for each failure. It must not block.
	Failed func()
	Clock  clock.Clock
	Logger interrex.Logger
}

// Status says how the copies of an agent go.
type Status struct {
	Since  time.Time // when the worker started
	Last   time.Time // when the last good copy was made; zero: there is none
	Bytes  int64     // of the last copy that this worker made; 0: it made none
	Took   time.Duration
	Failed string // why the last attempt failed, or none can be made now; empty: all is well
	Waits  bool   // Failed is why none can be made now
}

// Worker makes a copy when the newest is older than Config.Every.
type Worker struct {
	catacomb catacomb.Catacomb
	config   Config
	looking  chan struct{} // has one while a look is under way

	mu     sync.Mutex
	status Status
}

// NewWorker starts a Worker.
func NewWorker(c Config) (*Worker, error) {
	w := &Worker{config: c, looking: make(chan struct{}, 1), status: Status{Since: c.Clock.Now()}}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot start to make copies: %w", err)
	}
	return w, nil
}

// Kill is part of worker.Worker.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait is part of worker.Worker.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// Status returns how the copies go.
func (w *Worker) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.status
}

// Report is part of worker.Reporter.
func (w *Worker) Report() map[string]any {
	s := w.Status()
	r := map[string]any{"directory": w.config.Dir}
	if !s.Last.IsZero() {
		r["last"] = s.Last.UTC().Format(time.RFC3339)
	}
	if s.Failed != "" {
		r["last-error"] = s.Failed
	}
	return r
}

// Late says that there is no copy that is recent enough; empty: there is one.
func (w *Worker) Late() string {
	s, now := w.Status(), w.config.Clock.Now()
	text := ""
	switch {
	case s.Last.IsZero() && (s.Failed != "" && !s.Waits || now.Sub(s.Since) > firstGrace):
		text = fmt.Sprintf("no copy was found or made in %s since the start", w.config.Dir)
	case !s.Last.IsZero() && now.Sub(s.Last) > 2*w.config.Every:
		text = fmt.Sprintf("the last good copy in %s is of %s, and backup.every is %s", w.config.Dir, s.Last.UTC().Format(time.RFC3339), wording.Rounded(w.config.Every))
	}
	if text != "" && s.Failed != "" {
		text += ": " + s.Failed
	}
	return text
}

func (w *Worker) update(change func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
}

func (w *Worker) loop() error {
	ctx := w.catacomb.Context(context.Background())
	for failures := 0; ; {
		pause, err := w.bounded(ctx)
		switch {
		case ctx.Err() != nil:
			return w.catacomb.ErrDying()
		case err != nil:
			pause = backoff.Next(firstPause, maxPause, failures)
			failures++
			w.failed(err, fmt.Sprintf("trying again in %s", wording.Rounded(pause.Round(time.Second))))
		default:
			failures = 0
		}
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-w.config.Clock.After(pause):
		}
	}
}

func (w *Worker) failed(err error, next string) {
	w.update(func(s *Status) { s.Failed, s.Waits = err.Error(), false })
	w.config.Failed()
	w.config.Logger.Warningf("cannot copy the state to %s: %v; %s", w.config.Dir, err, next)
}

// looked is what a look has come to.
type looked struct {
	pause time.Duration // before the next one
	err   error
}

// bounded looks, for maxCopy at most. A look that a disk keeps from ending is left, and
// there is no other one until it has ended.
func (w *Worker) bounded(ctx context.Context) (time.Duration, error) {
	select {
	case w.looking <- struct{}{}:
	default:
		return 0, errHung
	}
	ctx, cancel := context.WithTimeoutCause(ctx, maxCopy, fmt.Errorf("it was not done within %s: use a faster disk", maxCopy))
	defer cancel()
	done := make(chan looked, 1)
	go func() {
		pause, err := w.look(ctx)
		<-w.looking
		done <- looked{pause, err}
	}()
	select {
	case l := <-done:
		return l.pause, l.err
	case <-ctx.Done():
	}
	select {
	case l := <-done:
		return l.pause, l.err
	case <-w.config.Clock.After(maxStop):
		return 0, errHung
	}
}

var errHung = errors.New("the disk does not respond: check the storage")

// look makes a copy if one is due, and returns the pause before the next look.
func (w *Worker) look(ctx context.Context) (time.Duration, error) {
	cluster, err := w.config.Cluster()
	if err != nil {
		w.update(func(s *Status) { s.Failed, s.Waits = err.Error(), true })
		return waitPause, nil
	}
	left, err := w.untilDue(cluster)
	if err == nil && left <= 0 {
		left, err = w.config.Every, w.copy(ctx, cluster)
	}
	if err == nil {
		w.update(func(s *Status) { s.Failed = "" })
	}
	return min(left, maxLook), err
}

// untilDue returns how long it is until the next copy. When the last one was made is in
// its name, until this worker has made one.
func (w *Worker) untilDue(cluster string) (time.Duration, error) {
	if err := CheckDirectory(w.config.Dir, w.config.DataDir); err != nil {
		return 0, err
	}
	now := w.config.Clock.Now()
	if s := w.Status(); !s.Last.IsZero() && !s.Last.After(now) {
		return s.Last.Add(w.config.Every).Sub(now), nil
	}
	all, err := own(w.config.Dir, cluster, w.config.Agent)
	if err != nil {
		return 0, err
	}
	var last time.Time
	for _, n := range all {
		if n.at.After(last) && !n.at.After(now) { // a clock was set back
			last = n.at
		}
	}
	if last.IsZero() {
		return 0, nil
	}
	w.update(func(s *Status) { s.Last = last })
	return last.Add(w.config.Every).Sub(now), nil
}

// copy makes a copy, and removes those that are too many.
func (w *Worker) copy(ctx context.Context, cluster string) error {
	began := w.config.Clock.Now()
	staged := filepath.Join(w.config.Dir, stagedName(cluster, w.config.Agent))
	shows, err := w.fill(ctx, staged)
	if err == nil && shows.ClusterID != cluster {
		err = fmt.Errorf("the copy is of cluster %q, and this is %q", shows.ClusterID, cluster)
	}
	made := copyName{began.UTC().Truncate(time.Second), cluster, shows.Revision, w.config.Agent}
	if err == nil {
		err = publish(staged, filepath.Join(w.config.Dir, made.String()))
	}
	if err != nil {
		_ = os.Remove(staged) // if it cannot be, the next copy removes it
		return err
	}
	took := w.config.Clock.Now().Sub(began)
	w.update(func(s *Status) { s.Last, s.Bytes, s.Took = began, shows.Bytes, took })
	w.config.Logger.Infof("copied the state to %s: %d bytes in %s", filepath.Join(w.config.Dir, made.String()), shows.Bytes, wording.Rounded(took))
	if err := prune(w.config.Dir, made, w.config.Keep); err != nil {
		w.config.Failed()
		w.config.Logger.Warningf("cannot remove the oldest copies in %s: %v; the next copy will", w.config.Dir, err)
	}
	return nil
}

// fill writes a copy of the present state, and verifies it.
func (w *Worker) fill(ctx context.Context, path string) (interrex.Snapshot, error) {
	frozen, err := w.config.Freeze()
	if err != nil {
		return interrex.Snapshot{}, err
	}
	bytes, err := write(ctx, path, frozen)
	frozen.Release()
	if err != nil {
		return interrex.Snapshot{}, err
	}
	return verify(ctx, path, bytes, w.config.Fresh)
}
