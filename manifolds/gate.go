package manifolds

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/gate"
)

// Gate makes the workers of m visitors of the owners that it names, which must
// be inputs of m: an owner frees what it owns only when the visit has ended,
// which is when the worker's Wait has returned. An owner that stops kills the
// worker at once. (The engine kills an input and its dependents in the same
// moment, and waits for neither on behalf of the other.)
func Gate(name string, m dependency.Manifold, owners ...string) dependency.Manifold {
	start, output := m.Start, m.Output
	m.Start = func(ctx dependency.Context) (worker.Worker, error) {
		visits, err := enter(ctx, name, owners)
		if err != nil {
			return nil, err
		}
		w, err := start(ctx)
		if err != nil {
			leave(visits)
			return nil, err
		}
		return visit(w, visits), nil
	}
	if output != nil {
		m.Output = func(in worker.Worker, out any) error {
			return output(in.(*visitor).Worker, out)
		}
	}
	return m
}

// Entrance is what an owner gives to its visitors.
type Entrance interface {
	Enter(name string) (*gate.Visit, error)
}

func enter(ctx dependency.Context, name string, owners []string) ([]*gate.Visit, error) {
	var visits []*gate.Visit
	for _, owner := range owners {
		var entrance Entrance
		if err := ctx.Get(owner, &entrance); err != nil {
			leave(visits)
			return nil, err
		}
		v, err := entrance.Enter(name)
		if err != nil {
			leave(visits)
			return nil, fmt.Errorf("cannot visit %s: %w: %w", owner, err, dependency.ErrMissing)
		}
		visits = append(visits, v)
	}
	return visits, nil
}

func leave(visits []*gate.Visit) {
	for _, v := range visits {
		v.Leave()
	}
}

// visitor is a worker whose visits end when it has ended.
type visitor struct {
	worker.Worker
}

// visit ends the visits after w, and w when an owner asks it to go. Its
// goroutines live as long as w.
func visit(w worker.Worker, visits []*gate.Visit) *visitor {
	dead := make(chan struct{})
	go func() {
		_ = w.Wait()
		leave(visits)
		close(dead)
	}()
	for _, v := range visits {
		go func() {
			select {
			case <-v.Stopping():
				w.Kill()
			case <-dead:
			}
		}()
	}
	return &visitor{Worker: w}
}

// Report passes on what the worker says of itself.
func (v *visitor) Report() map[string]any { return report(v.Worker) }

func report(w worker.Worker) map[string]any {
	if r, ok := w.(dependency.Reporter); ok {
		return r.Report()
	}
	return nil
}

// owner is a worker that outlives its visitors: it is killed only after they
// have left, or have overstayed.
type owner struct {
	tomb     tomb.Tomb
	inner    worker.Worker
	gate     gate.Gate
	patience time.Duration
	overstay func(names []string)
}

// own wraps w. Visitors have patience to leave; overstay is told who did not.
func own(w worker.Worker, patience time.Duration, overstay func(names []string)) *owner {
	o := &owner{inner: w, patience: patience, overstay: overstay}
	o.tomb.Go(o.loop)
	return o
}

func (o *owner) loop() error {
	dead := make(chan error, 1)
	go func() { dead <- o.inner.Wait() }()
	select {
	case err := <-dead:
		o.empty()
		return err
	case <-o.tomb.Dying():
	}
	o.empty()
	o.inner.Kill()
	return <-dead
}

func (o *owner) empty() {
	ctx, cancel := context.WithTimeout(context.Background(), o.patience)
	defer cancel()
	if names := o.gate.Close(ctx); len(names) > 0 {
		o.overstay(names)
	}
}

// Kill asks the visitors to leave, then stops the worker.
func (o *owner) Kill() { o.tomb.Kill(nil) }

// Wait returns the worker's own error.
func (o *owner) Wait() error { return o.tomb.Wait() }

// Report adds the visitors to what the worker says of itself.
func (o *owner) Report() map[string]any {
	r := map[string]any{}
	for k, v := range report(o.inner) {
		r[k] = v
	}
	if names := o.gate.Visitors(); len(names) > 0 {
		r["visitors"] = strings.Join(names, ", ")
	}
	return r
}

// owned turns an owner's output into that of its worker, and gives the gate to
// those who ask for it.
func owned(output dependency.OutputFunc) dependency.OutputFunc {
	return func(in worker.Worker, out any) error {
		o := in.(*owner)
		if assign(out, Entrance(&o.gate)) {
			return nil
		}
		if output == nil {
			return fmt.Errorf("cannot give a %T", out)
		}
		return output(o.inner, out)
	}
}
