package raftworker

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// Transport returns the transport of this life of raft, for use during a visit:
// what it has noted of answers is what strong reads count by. Its errors are
// Raft's.
func (w *Worker) Transport() (Transport, error) {
	if err := w.endError(); err != nil {
		return nil, err
	}
	return w.life.transport, nil
}

// HandOver writes a last stamp and transfers leadership to another voter, if this
// agent leads and there is one. The worker goes on, as a follower. It returns
// with ctx at the latest.
func (w *Worker) HandOver(ctx context.Context) error {
	if err := w.endError(); err != nil {
		return err
	}
	l := w.life
	if l.raft.State() != raft.Leader || alone(l.raft.GetConfiguration().Configuration(), l.config.LocalID) {
		return nil
	}
	if err := l.applier.FinalTick(ctx); err != nil {
		w.cfg.Logger.Debugf("no last stamp was written: %v", err)
	}
	done := make(chan error, 1)
	// Raft bounds a transfer by its election timeout.
	go func() { done <- w.transfer(l).Error() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("cannot hand leadership over: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot hand leadership over: %w", ctx.Err())
	}
}
