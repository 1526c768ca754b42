package assembly

import (
	"context"
	"sync"

	"github.com/juju/clock"
	"github.com/juju/worker/v3"

	"github.com/interrex/interrex/internal/datadir"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/recovery"
	"github.com/interrex/interrex/internal/unit"
)

// recoveries is what the backstop orders and the worker of recoveries carries out.
type recoveries struct {
	mu      sync.Mutex
	ordered chan struct{} // closed by an order
	failed  error         // why one failed after it had begun; nil: none did
}

func newRecoveries() *recoveries { return &recoveries{ordered: make(chan struct{})} }

// order orders a recovery.
func (r *recoveries) order() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.isOrdered() {
		close(r.ordered)
	}
}

func (r *recoveries) isOrdered() bool {
	select {
	case <-r.ordered:
		return true
	default:
		return false
	}
}

// take reports whether a recovery was ordered. It is to be carried out; next is closed
// by the next order.
func (r *recoveries) take() (ordered bool, next <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ordered = r.isOrdered(); ordered {
		r.ordered = make(chan struct{})
	}
	return ordered, r.ordered
}

func (r *recoveries) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
}

// failure returns why a recovery failed after it had begun.
func (r *recoveries) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// startRecovery rewrites the agent's directory if that was ordered. Everything that
// uses the directory comes after it, and has ended before it is started again.
func (s *Set) startRecovery(u *unit.Unit) (worker.Worker, error) {
	now := unit.Need[clock.Clock](u, ClockName)
	if u.Err != nil {
		return nil, u.Err
	}
	ordered, next := s.recovery.take()
	if ordered {
		s.recoverCluster(now)
	}
	return unit.Run(func(ctx context.Context) error {
		select {
		case <-ctx.Done():
		case <-next:
		}
		return nil
	}), nil
}

// recoverCluster makes this agent the only member of its cluster, unless an agent
// responds after all. The agent starts again in either case.
func (s *Set) recoverCluster(now clock.Clock) {
	log, begun := s.logger("backstop"), false
	log.Warningf("recovering the cluster from this agent")
	done, err := s.rescue(now, func() { begun = true })
	switch {
	case err == nil:
		kept := "an earlier recovery was completed"
		if done.Backup != "" {
			kept = "the files from before are in " + done.Backup
		}
		log.Warningf("this agent is now the only member of the cluster, in epoch %d; the revision went from %d to %d; %s", done.Epoch.Number, done.Loss.From, done.Loss.To, kept)
	case begun:
		s.recovery.fail(err)
		log.Errorf("the recovery of the cluster failed, and is not tried again: %v", err)
	default:
		log.Warningf("the cluster is not recovered, and nothing is changed: %v", err)
	}
}

// rescue calls begin when nothing speaks against the recovery any more.
func (s *Set) rescue(now clock.Clock, begin func()) (*datadir.Rescued, error) {
	path := s.config.Agent.DataDir
	all, err := recovery.Plan([]string{path})
	if err != nil {
		return nil, err
	}
	own, tables, _, _, err := s.tables(now)
	if err != nil {
		return nil, err
	}
	st, err := machine.New(machine.Config{Tables: tables, Clock: now, Logger: s.logger("backstop")})
	if err != nil {
		return nil, err
	}
	defer st.Close()
	reach := recovery.Reach{
		Directory: all[0], Cluster: s.section().Cluster, TLS: s.config.Agent.TLS, Dialer: s.config.Agent.Dialer,
		State: st, Members: own.members, Clock: now, Logger: s.logger("backstop"),
	}
	return datadir.Rescue(datadir.RecoverConfig{
		DataDir: path, State: st, Logger: s.logger("backstop"), Clock: now,
		Allow: func() error {
			if err := reach.Alone(context.Background()); err != nil {
				return err
			}
			begin()
			return nil
		},
	})
}
