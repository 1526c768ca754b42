// Package leaseworker owns the worker that campaigns for a lease, and lives as long as
// one hold of it.
package leaseworker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gate"
	"github.com/interrex/interrex/internal/hold"
	"github.com/interrex/interrex/internal/unit"
)

// Config describes a manifold that campaigns for a lease and holds it.
type Config struct {
	// LeasesName is the name of the manifold that provides interrex.Leases.
	LeasesName string
	Key        string
	TTL        time.Duration // 0: interrex.DefaultTTL
	Holder     string        // empty: one for this process
	Metadata   map[string]string
	// Patience is how long the dependents have to stop before the lease is
	// released. 0: 10 s. If one has not stopped by then, the lease is not released:
	// it expires.
	Patience time.Duration
	// Overstayed is called with the names of the dependents that did not stop in
	// time. May be nil.
	Overstayed func(key string, names []string)
}

// Manifold returns a manifold whose worker lives as long as one hold of a lease. Until
// the lease is granted the worker is starting. Dependents (see unit.Gate) are
// stopped and waited for before the lease is released, and are stopped when it
// is lost; then the next campaign begins.
func Manifold(c Config) dependency.Manifold {
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	line := unit.Node{Inputs: []string{c.LeasesName}, Start: c.start, Filter: func(err error) error {
		switch {
		case errors.Is(err, errLost):
			return dependency.ErrBounce
		case errors.Is(err, hold.ErrClosed): // a drain: the leases come back with another client
			return dependency.ErrMissing
		}
		return err
	}}
	return line.Manifold("lease "+c.Key, strings.Clone, nil)
}

// errLost ends the worker of a lease that is no longer held.
var errLost = errors.New("the lease is lost")

func (c Config) start(u *unit.Unit) (worker.Worker, error) {
	leases := unit.Need[interrex.Leases](u, c.LeasesName)
	if u.Err != nil {
		return nil, u.Err
	}
	// The leases of an agent's workers wait for their holders; others need not.
	if err := u.Visit(c.LeasesName); errors.Is(err, dependency.ErrMissing) {
		return nil, err
	}
	held, end, err := c.campaign(u.Context, leases)
	if err != nil {
		return nil, fmt.Errorf("cannot hold the lease %s: %w", c.Key, err)
	}
	w := &leaseHolder{config: c, held: held, end: end}
	u.Give(w.held, &w.gate, w)
	w.tomb.Go(w.loop)
	return w, nil
}

// campaign waits until the lease is granted, or the engine aborts the start. end
// ends the hold's context.
func (c Config) campaign(ctx dependency.Context, leases interrex.Leases) (held interrex.Held, end context.CancelCauseFunc, err error) {
	campaign, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-ctx.Abort():
			cancel()
		case <-campaign.Done():
		}
	}()
	// The hold outlives this call: its context ends with the worker.
	life, end := context.WithCancelCause(context.Background())
	stop := context.AfterFunc(campaign, func() { end(dependency.ErrMissing) })
	held, err = leases.Hold(life, c.Key, interrex.HoldOptions{TTL: c.TTL, Holder: c.Holder, Metadata: c.Metadata, Wait: -1})
	if !stop() && err == nil {
		err = errors.Join(dependency.ErrMissing, release(held, c.Patience))
	}
	if err != nil {
		end(nil)
	}
	return held, end, err
}

// leaseHolder is one hold.
type leaseHolder struct {
	tomb   tomb.Tomb
	gate   gate.Gate
	config Config
	held   interrex.Held
	end    context.CancelCauseFunc
}

func (w *leaseHolder) loop() error {
	defer w.end(nil)
	var result error
	select {
	case <-w.tomb.Dying():
	case <-w.held.Context().Done():
		result = fmt.Errorf("%w: %s: %w", errLost, w.held.Key(), context.Cause(w.held.Context()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.config.Patience)
	names := w.gate.Close(ctx)
	cancel()
	if len(names) > 0 {
		if w.config.Overstayed != nil {
			w.config.Overstayed(w.config.Key, names)
		}
		overstayed := fmt.Errorf("%s did not stop in time; the lease %s is not released: it expires by itself", strings.Join(names, ", "), w.held.Key())
		return errors.Join(result, overstayed)
	}
	if err := release(w.held, w.config.Patience); err != nil && result == nil {
		return fmt.Errorf("cannot release the lease %s: %w", w.held.Key(), err)
	}
	return result
}

func release(held interrex.Held, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return held.Release(ctx)
}

// Kill stops the dependents, then releases the lease.
func (w *leaseHolder) Kill() { w.tomb.Kill(nil) }

// Wait returns when the lease is released, or left to expire.
func (w *leaseHolder) Wait() error { return w.tomb.Wait() }

// Check reports whether the lease is still held: after a pause the worker may not
// have noticed its end yet.
func (w *leaseHolder) Check() bool { return w.held.Check() == nil }

// Report shows the lease and the workers that use it.
func (w *leaseHolder) Report() map[string]any {
	return map[string]any{
		"key":      w.held.Key().String(),
		"token":    w.held.Token().String(),
		"visitors": strings.Join(w.gate.Visitors(), ", "),
	}
}
