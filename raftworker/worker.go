// Package raftworker owns the supervised raft.Raft: its start, its orderly stop,
// the transfer of leadership, and the checks that end a raft which runs but makes
// no progress.
//
// It has the names of Juju's package; NewTarget and NotifyTarget are in package
// notify.
package raftworker

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/leaseapplier"
)

// Worker runs one life of raft. When raft stops, has no contact with a leader,
// commits nothing, or loses its disk, the worker ends with an error that says so,
// and its supervisor starts another on the same directory and the same state.
type Worker struct {
	cfg      Config
	catacomb catacomb.Catacomb
	serving  chan struct{} // closed when the fields of life are set
	life     *life
	visits   gate.Gate
	report   atomic.Pointer[map[string]any]

	mu    sync.Mutex
	stage string
}

// NewWorker checks the configuration, starts the worker's loop, and returns when
// it serves. A start that fails returns its own error at once; one that takes
// longer than LoopTimeout returns ErrStartTimeout, after it has been stopped, which
// is waited for at most the worker's stop timeout. The directory stays locked while
// anything in it is in use.
func NewWorker(cfg Config) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	raftConfig, err := NewRaftConfig(cfg)
	if err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, serving: make(chan struct{})}
	w.setStage("starting")
	err = catacomb.Invoke(catacomb.Plan{
		Site: &w.catacomb,
		Work: func() error { return w.loop(raftConfig) },
	})
	if err != nil {
		return nil, fmt.Errorf("cannot start raft worker: %w", err)
	}
	if err := w.awaitServing(); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Worker) awaitServing() error {
	select {
	case <-w.serving:
		return nil
	case <-w.catacomb.Dead():
		return w.endError()
	case <-w.cfg.Clock.After(LoopTimeout):
		w.catacomb.Kill(ErrStartTimeout)
	}
	select {
	case <-w.catacomb.Dead():
	case <-w.cfg.Clock.After(w.cfg.stopTimeout):
		w.cfg.Logger.Errorf("the loop that did not serve in time has not ended either: its directory stays locked until it has")
	}
	return ErrStartTimeout
}

// loop starts raft, serves, and stops it.
func (w *Worker) loop(raftConfig *raft.Config) error {
	defer w.setStage("stopped")
	l, err := w.bringUp(raftConfig)
	if err != nil {
		// Logged here because the engine may show the error late.
		w.cfg.Logger.Errorf("%v", err)
		return err
	}
	w.life = l
	close(w.serving)
	w.setStage("serving")
	err = w.serve(l)
	w.setStage("stopping")
	// From here on the accessors return the reason instead of raft.
	w.catacomb.Kill(err)
	return w.bringDown(l, err)
}

// Raft returns the running raft, for use during a visit: see Enter. It never
// waits. After a clean stop the error is ErrWorkerStopped, otherwise the error that
// ended the worker.
func (w *Worker) Raft() (*raft.Raft, error) {
	if err := w.endError(); err != nil {
		return nil, err
	}
	return w.life.raft, nil
}

// LogStore returns the open log, for use during a visit. Its errors are those of
// Raft.
func (w *Worker) LogStore() (LogStore, error) {
	if err := w.endError(); err != nil {
		return nil, err
	}
	return w.life.dir, nil
}

// Disk describes the disk of the log; false: the worker is not running.
func (w *Worker) Disk() (DiskState, bool) {
	if w.endError() != nil {
		return DiskState{}, false
	}
	return DiskState(w.life.dir.Disk()), true
}

// Stuck returns the index of a snapshot that arrives repeatedly; 0: there is none.
func (w *Worker) Stuck() uint64 {
	if w.endError() != nil {
		return 0
	}
	return w.life.rules.Stuck()
}

// Applier returns the applier of this life of raft. Its errors are those of Raft.
func (w *Worker) Applier() (leaseapplier.LeaseApplier, error) {
	if err := w.endError(); err != nil {
		return nil, err
	}
	return w.life.applier, nil
}

// Transport returns the transport of this life of raft, for use during a visit:
// strong reads rely on the answers that it records. Its errors are those of Raft.
func (w *Worker) Transport() (Transport, error) {
	if err := w.endError(); err != nil {
		return nil, err
	}
	return w.life.transport, nil
}

// Enter begins a visit: while it lasts, a worker that stops keeps raft and its log
// open, for 10 s at most. A visitor must leave soon after Stopping of its visit is
// closed. name is the visitor's worker, for messages.
func (w *Worker) Enter(name string) (*gate.Visit, error) {
	if err := w.endError(); err != nil {
		return nil, err
	}
	v, err := w.visits.Enter(name)
	if err != nil {
		return nil, ErrWorkerStopped
	}
	return v, nil
}

// Kill asks the worker to stop; leadership is handed over first.
func (w *Worker) Kill() { w.catacomb.Kill(nil) }

// Wait waits for the end of the worker and returns the error that ended it.
func (w *Worker) Wait() error { return w.catacomb.Wait() }

// endError returns what Raft returns in place of raft; nil while the worker runs.
func (w *Worker) endError() error {
	select {
	case <-w.catacomb.Dying():
	default:
		return nil
	}
	if err := w.catacomb.Err(); err != nil {
		return err
	}
	return ErrWorkerStopped
}
