package custody

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"github.com/juju/clock"
	"github.com/juju/worker/v3/catacomb"

	"github.com/interrex/interrex/internal/authority"
	"github.com/interrex/interrex/internal/jointoken"
)

const (
	// every is the pause between two looks.
	every = time.Second
	// Grace is how long an agent without a vote keeps a key that it was given: its
	// promotion follows.
	Grace = time.Minute
)

// Raft is the part of *raft.Raft that is used.
type Raft interface {
	GetConfiguration() raft.ConfigurationFuture
}

// Config is the configuration of a Worker.
type Config struct {
	Keys
	ID, Incarnation string // of this agent
	Raft            Raft
	// Lacking reports whether an agent can be reached, and says that it does not have
	// the key of the CA with a pin. It must not block.
	Lacking func(id string, pin jointoken.Pin) bool
	Clock   clock.Clock
}

// Worker deletes the keys where this agent has no vote, and those of former CAs
// everywhere; where it leads it hands the others to voters that lack them.
type Worker struct {
	catacomb catacomb.Catacomb
	config   Config
	pins     []jointoken.Pin // of the CAs whose keys were here at the previous look
}

// NewWorker starts a Worker.
func NewWorker(c Config) (*Worker, error) {
	w := &Worker{config: c}
	if err := catacomb.Invoke(catacomb.Plan{Site: &w.catacomb, Work: w.loop}); err != nil {
		return nil, fmt.Errorf("cannot start to keep the CA's key: %w", err)
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
		if err := w.look(ctx); err != nil {
			w.config.Logger.Warningf("%v; trying again", err)
		}
		select {
		case <-w.catacomb.Dying():
			return w.catacomb.ErrDying()
		case <-w.config.Clock.After(every):
		}
	}
}

// notice makes the others know when a key was put here or taken away by hand.
func (w *Worker) notice() {
	if pins, err := authority.Pins(w.config.Dir); err == nil && !slices.Equal(pins, w.pins) {
		w.pins = pins
		w.config.Changed()
	}
}

// look does what is to be done now.
func (w *Worker) look(ctx context.Context) error {
	w.notice()
	since, err := authority.KeySince(w.config.Dir)
	if errors.Is(err, fs.ErrNotExist) || w.config.Table.CA() == "" {
		return nil
	}
	future := w.config.Raft.GetConfiguration()
	if err := errors.Join(err, future.Error()); err != nil {
		return err
	}
	servers := future.Configuration().Servers
	leads := w.config.Leader() == w.config.ID
	if why := w.unentitled(servers, leads); why != "" {
		return w.drop(since, why)
	}
	dropped, err := w.config.drop(false)
	if dropped {
		w.config.Logger.Infof("deleted the former CA's key")
	}
	if err != nil || !leads {
		return err
	}
	return w.hand(ctx, servers)
}

// hand hands the keys that are here to the voters that lack them.
func (w *Worker) hand(ctx context.Context, servers []raft.Server) error {
	var failed []error
	for _, der := range w.config.wanted() {
		ca, err := authority.LoadOf(w.config.Dir, der)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, s := range servers {
			if id := string(s.ID); s.Suffrage == raft.Voter && id != w.config.ID && w.config.Lacking(id, ca.Pin()) {
				failed = append(failed, w.config.send(ctx, id, ca))
			}
		}
	}
	return errors.Join(failed...)
}

// unentitled returns why this agent must not have the key; empty: it may. One that is
// in no cluster yet keeps the key with which it founds one.
func (w *Worker) unentitled(servers []raft.Server, leads bool) string {
	switch {
	case len(servers) == 0 || leads:
		return ""
	case w.config.Table.Removed(w.config.ID, w.config.Incarnation):
		return "this agent was removed from the cluster"
	}
	for _, s := range servers {
		if string(s.ID) == w.config.ID && s.Suffrage == raft.Voter {
			return ""
		}
	}
	return "this agent has no vote"
}

func (w *Worker) drop(since time.Time, why string) error {
	if age := w.config.Clock.Now().Sub(since); age >= 0 && age < Grace { // a clock may be set back
		return nil
	}
	if _, err := w.config.drop(true); err != nil {
		return err
	}
	w.config.Logger.Infof("deleted the CA's key: %s", why)
	return nil
}
