package unit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/gate"
)

// Node is a worker's line in a graph.
type Node struct {
	Inputs []string
	// Visits are inputs that outlive the worker: they free what they own only
	// when it has ended.
	Visits []string
	// Uses and Offers are slots, inputs too: the worker goes on whatever is in those
	// that it uses.
	Uses, Offers []string
	// Flag is a visited input, too: the worker runs only while its gate.Flag is
	// true. "": always.
	Flag string
	// Start makes the worker; nil and no error: the unit only provides values.
	Start func(*Unit) (worker.Worker, error)
	// Filter turns the error with which the worker ends into one for the engine;
	// optional. A worker that ends without an error, as when a program has killed it, is
	// started again: the engine would leave it stopped.
	Filter dependency.FilterFunc
}

// Manifold puts a node into an engine; called turns a name of the graph into the
// engine's. overstayed, which may be nil, is called with the names of the visitors
// that did not leave in time.
func (n Node) Manifold(name string, called func(string) string, overstayed func([]string)) dependency.Manifold {
	var inputs, owners []string
	for _, input := range slices.Concat(n.Inputs, n.Uses, n.Offers) {
		inputs = append(inputs, called(input))
	}
	for _, owner := range n.Visits {
		owners = append(owners, called(owner))
	}
	m := dependency.Manifold{
		Inputs: append(inputs, owners...),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			u := &Unit{Context: ctx, name: called(name), called: called, overstayed: overstayed}
			return u.begin(owners, n.Start)
		},
		Output: Output,
		Filter: func(err error) error {
			if n.Filter != nil {
				err = n.Filter(err)
			}
			return cmp.Or[error](err, dependency.ErrBounce)
		},
	}
	if n.Flag != "" {
		return Flag(called(name), called(n.Flag), m)
	}
	return m
}

// Patience is how long a unit waits for its visitors.
const Patience = 15 * time.Second

// Unit is a worker in its place in the graph: what it takes from its inputs, what
// it provides to its dependents, its visits, and its visitors.
//
// (The engine kills an input and its dependents in the same moment, and waits for
// neither on behalf of the other.) A unit that is killed asks its visitors to
// leave. When they have left, or have overstayed, it stops its worker, frees what
// it owns, and ends its own visits. It is killed when one of those that it visits
// asks it to leave, which aborts a start that is under way.
type Unit struct {
	Context dependency.Context // of its start
	Err     error              // the first of Need

	name       string
	called     func(string) string // turns a name of the graph into the engine's
	overstayed func(names []string)

	values  []any
	foreign dependency.OutputFunc // of inner, for what is not among values; nil: none
	frees   []func() error
	report  func() map[string]any // nil: inner's

	tomb   tomb.Tomb
	ended  chan struct{} // closed when everything is free
	inner  worker.Worker // nil: none
	visits []*gate.Visit
	door   gate.Gate
}

// Need returns what an input provides, by its type. The unit keeps the first error.
func Need[T any](u *Unit, name string) (value T) {
	if u.Err == nil {
		u.Err = u.Context.Get(u.called(name), &value)
	}
	return value
}

// NeedsRunning is Need of an input that only has to run.
func (u *Unit) NeedsRunning(name string) {
	if u.Err == nil {
		u.Err = u.Context.Get(u.called(name), nil)
	}
}

// Give provides values to the dependents, which get them by type.
func (u *Unit) Give(values ...any) { u.values = append(u.values, values...) }

// GiveBy sets the output of the worker itself, for what is not among the values.
func (u *Unit) GiveBy(output dependency.OutputFunc) { u.foreign = output }

// ReportBy sets what the unit reports in place of its worker.
func (u *Unit) ReportBy(report func() map[string]any) { u.report = report }

// Entrance is where the visitors enter.
func (u *Unit) Entrance() gate.Entrance { return &u.door }

// Free registers f to be called when the worker has ended or could not start. The
// functions are called in reverse order. A panic in one is an error of the worker.
func (u *Unit) Free(f func() error) { u.frees = append(u.frees, f) }

// After is Free for what cannot fail.
func (u *Unit) After(f func()) { u.Free(func() error { f(); return nil }) }

// Follow calls do when changed is closed, and again when the channel is that do
// has returned, until the worker has ended. A panic in do ends the worker.
func (u *Unit) Follow(changed <-chan struct{}, do func() (next <-chan struct{})) {
	ended := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-changed:
			}
			if err := Caught(func() error { changed = do(); return nil }); err != nil {
				u.tomb.Kill(fmt.Errorf("cannot follow a change: %w", err))
				return
			}
		}
	})
	u.After(func() {
		close(ended)
		following.Wait()
	})
}

// Caught returns the error of f, which is a panic's if f panics: the engine has no
// guard of its own.
func Caught(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

// Visit enters the inputs that are called owners.
func (u *Unit) Visit(owners ...string) error {
	for _, owner := range owners {
		var entrance gate.Entrance
		if err := u.Context.Get(owner, &entrance); err != nil {
			return err
		}
		v, err := entrance.Enter(u.name)
		if err != nil {
			return fmt.Errorf("cannot visit %s: %w: %w", owner, err, dependency.ErrMissing)
		}
		u.visits = append(u.visits, v)
		u.endWith(v.Stopping())
	}
	return nil
}

// endWith kills the unit when asked is closed.
func (u *Unit) endWith(asked <-chan struct{}) {
	u.tomb.Go(func() error {
		select {
		case <-asked:
			u.tomb.Kill(nil)
			<-u.ended
		case <-u.ended:
		}
		return nil
	})
}

// aborted is the context of a start that ends with its unit, too.
type aborted struct {
	dependency.Context
	abort <-chan struct{}
}

// Abort implements dependency.Context.
func (c aborted) Abort() <-chan struct{} { return c.abort }

// begin starts the unit as a visitor of owners. A start that fails, or panics,
// leaves nothing behind.
func (u *Unit) begin(owners []string, start func(*Unit) (worker.Worker, error)) (_ worker.Worker, err error) {
	u.ended = make(chan struct{})
	u.endWith(u.Context.Abort())
	u.Context = aborted{u.Context, u.tomb.Dying()}
	began := false
	defer func() {
		if !began {
			err = errors.Join(err, u.leave(), u.tomb.Wait())
		}
	}()
	if err := u.Visit(owners...); err != nil {
		return nil, err
	}
	if u.inner, err = start(u); err != nil {
		return nil, err
	}
	began = true
	u.tomb.Go(u.loop)
	return u, nil
}

func (u *Unit) loop() error {
	dead := make(chan error, 1)
	if u.inner != nil {
		go func() { dead <- u.inner.Wait() }()
	}
	var err error
	select {
	case err = <-dead:
		u.empty()
	case <-u.tomb.Dying():
		u.empty()
		if u.inner != nil {
			u.inner.Kill()
			err = <-dead
		}
	}
	return errors.Join(err, u.leave())
}

// empty asks the visitors to leave, and waits for them.
func (u *Unit) empty() {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if names := u.door.Close(ctx); len(names) > 0 && u.overstayed != nil {
		u.overstayed(names)
	}
}

// leave frees what the unit owns, and ends its visits.
func (u *Unit) leave() error {
	var failed []error
	for _, f := range slices.Backward(u.frees) {
		failed = append(failed, Caught(f))
	}
	for _, v := range u.visits {
		v.Leave()
	}
	close(u.ended)
	return errors.Join(failed...)
}

// Kill asks the visitors to leave, then stops the worker.
func (u *Unit) Kill() { u.tomb.Kill(nil) }

// Wait returns the worker's own error, when everything is free.
func (u *Unit) Wait() error { return u.tomb.Wait() }

// Report adds the visitors to the worker's report.
func (u *Unit) Report() map[string]any {
	r := map[string]any{}
	if u.report != nil {
		maps.Copy(r, u.report())
	} else {
		maps.Copy(r, Report(u.inner))
	}
	if names := u.door.Visitors(); len(names) > 0 {
		r["visitors"] = strings.Join(names, ", ")
	}
	return r
}

// Loop is a worker that is one function.
type Loop struct{ tomb tomb.Tomb }

// Run makes a worker of f, whose context ends when the worker is killed.
func Run(f func(context.Context) error) *Loop {
	w := &Loop{}
	w.tomb.Go(func() error { return f(w.tomb.Context(context.Background())) })
	return w
}

// Kill ends the worker.
func (w *Loop) Kill() { w.tomb.Kill(nil) }

// Wait returns when the function has.
func (w *Loop) Wait() error { return w.tomb.Wait() }

// Report returns a worker's report; nil: it has none.
func Report(w worker.Worker) map[string]any {
	if r, ok := w.(dependency.Reporter); ok {
		return r.Report()
	}
	return nil
}

// Alive reports whether the unit runs, and is not asked to stop.
func (u *Unit) Alive() bool { return u.tomb.Alive() }

// Value returns the value of a type that a worker provides; the zero value if it does
// not run, or is stopping. It is for looking from outside: a worker names its inputs
// in the graph.
func Value[T any](w worker.Worker) (value T) {
	u, is := w.(*Unit)
	for is && u.Alive() {
		for _, v := range u.values {
			if value, is := v.(T); is {
				return value
			}
		}
		u, is = u.inner.(*Unit)
	}
	return value
}

// Output is the Output of every unit: what it provides, or its entrance.
func Output(in worker.Worker, out any) error {
	u, is := in.(*Unit)
	if !is {
		return fmt.Errorf("expected a worker of an agent, got %T", in)
	}
	for _, value := range u.values {
		if Assign(out, value) {
			return nil
		}
	}
	if within, is := u.inner.(*Unit); is {
		return Output(within, out) // that one is asked to leave, too, and waits for the visitors
	}
	if Assign(out, u.Entrance()) {
		return nil
	}
	if u.foreign == nil {
		return fmt.Errorf("%s has no output of type %s", u.name, wanted(out))
	}
	return u.foreign(u.inner, out)
}

// Gate makes the workers of m visitors of owners, which become inputs of m.
func Gate(name string, m dependency.Manifold, owners ...string) dependency.Manifold {
	start, foreign := m.Start, m.Output
	for _, owner := range owners {
		if !slices.Contains(m.Inputs, owner) {
			m.Inputs = append(slices.Clip(m.Inputs), owner)
		}
	}
	m.Start = func(ctx dependency.Context) (worker.Worker, error) {
		u := &Unit{Context: ctx, name: name, foreign: foreign}
		return u.begin(owners, func(u *Unit) (worker.Worker, error) { return start(u.Context) })
	}
	m.Output = Output
	return m
}

// Flag lets m run only while the worker that is called flag provides a true
// gate.Flag, whose owner m visits.
func Flag(name, flag string, m dependency.Manifold) dependency.Manifold {
	start := m.Start
	m.Start = func(ctx dependency.Context) (worker.Worker, error) {
		if err := set(ctx, flag); err != nil {
			return nil, err
		}
		return start(ctx)
	}
	return Gate(name, m, flag)
}

// set reports why a flag is not set.
func set(ctx dependency.Context, flag string) error {
	var f gate.Flag
	if err := ctx.Get(flag, &f); err != nil {
		return err
	}
	if !f.Check() {
		return fmt.Errorf("%s is not set: %w", flag, dependency.ErrMissing)
	}
	return nil
}
