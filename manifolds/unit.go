package manifolds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"

	"github.com/interrex/interrex/gate"
)

// node is a worker's line in the graph, with names of this package.
type node struct {
	inputs []string
	// visits are inputs that outlive the worker: they free what they own only
	// when it has ended.
	visits []string
	// uses and offers are slots, inputs too: the worker goes on whatever is in those
	// that it uses.
	uses, offers []string
	// flag is a visited input, too: the worker runs only while its gate.Flag is
	// true. "": always.
	flag string
	// start makes the worker; nil and no error: the unit only provides values.
	start  func(*unit) (worker.Worker, error)
	filter dependency.FilterFunc
}

// manifold puts a node into an engine; called turns a name of this package into
// the engine's.
func (n node) manifold(name string, called func(string) string, overstayed func([]string)) dependency.Manifold {
	var inputs, owners []string
	for _, input := range slices.Concat(n.inputs, n.uses, n.offers) {
		inputs = append(inputs, called(input))
	}
	for _, owner := range n.visits {
		owners = append(owners, called(owner))
	}
	m := dependency.Manifold{
		Inputs: append(inputs, owners...),
		Start: func(ctx dependency.Context) (worker.Worker, error) {
			u := &unit{name: called(name), ctx: ctx, called: called, overstayed: overstayed}
			return u.begin(owners, n.start)
		},
		Output: output,
		Filter: n.filter,
	}
	if n.flag != "" {
		return Flag(called(name), called(n.flag), m)
	}
	return m
}

// patience is how long a unit waits for its visitors.
const patience = 15 * time.Second

// unit is a worker in its place in the graph: what it takes from its inputs, what
// it provides to its dependents, its visits, and its visitors.
//
// (The engine kills an input and its dependents in the same moment, and waits for
// neither on behalf of the other.) A unit that is killed asks its visitors to
// leave. When they have left, or have overstayed, it stops its worker, frees what
// it owns, and ends its own visits. It is killed when one of those that it visits
// asks it to leave, which aborts a start that is under way.
type unit struct {
	name       string
	ctx        dependency.Context  // of its start
	called     func(string) string // turns a name of this package into the engine's
	err        error               // the first of need
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

// need gets what an input provides, by its type. The unit keeps the first error.
func need[T any](u *unit, name string) (value T) {
	if u.err == nil {
		u.err = u.ctx.Get(u.called(name), &value)
	}
	return value
}

// give provides values to the dependents, which get them by type.
func (u *unit) give(values ...any) { u.values = append(u.values, values...) }

// free registers f to be called when the worker has ended or could not start. The
// functions are called in reverse order.
func (u *unit) free(f func() error) { u.frees = append(u.frees, f) }

// after is free for what cannot fail.
func (u *unit) after(f func()) { u.free(func() error { f(); return nil }) }

// follow calls do when changed is closed, and again when the channel is that do
// has returned, until the worker has ended.
func (u *unit) follow(changed <-chan struct{}, do func() (next <-chan struct{})) {
	ended := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-changed:
				changed = do()
			}
		}
	})
	u.after(func() {
		close(ended)
		following.Wait()
	})
}

// Entrance is what an owner provides to its visitors.
type Entrance interface {
	Enter(name string) (*gate.Visit, error)
}

// visit enters the inputs that are called owners.
func (u *unit) visit(owners ...string) error {
	for _, owner := range owners {
		var entrance Entrance
		if err := u.ctx.Get(owner, &entrance); err != nil {
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
func (u *unit) endWith(asked <-chan struct{}) {
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
func (u *unit) begin(owners []string, start func(*unit) (worker.Worker, error)) (_ worker.Worker, err error) {
	u.ended = make(chan struct{})
	u.endWith(u.ctx.Abort())
	u.ctx = aborted{u.ctx, u.tomb.Dying()}
	began := false
	defer func() {
		if !began {
			err = errors.Join(err, u.leave())
			_ = u.tomb.Wait()
		}
	}()
	if err := u.visit(owners...); err != nil {
		return nil, err
	}
	if u.inner, err = start(u); err != nil {
		return nil, err
	}
	began = true
	u.tomb.Go(u.loop)
	return u, nil
}

func (u *unit) loop() error {
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
func (u *unit) empty() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if names := u.door.Close(ctx); len(names) > 0 && u.overstayed != nil {
		u.overstayed(names)
	}
}

// leave frees what the unit owns, and ends its visits.
func (u *unit) leave() error {
	var failed []error
	for _, f := range slices.Backward(u.frees) {
		failed = append(failed, f())
	}
	for _, v := range u.visits {
		v.Leave()
	}
	close(u.ended)
	return errors.Join(failed...)
}

// Kill asks the visitors to leave, then stops the worker.
func (u *unit) Kill() { u.tomb.Kill(nil) }

// Wait returns the worker's own error, when everything is free.
func (u *unit) Wait() error { return u.tomb.Wait() }

// Report adds the visitors to the worker's report.
func (u *unit) Report() map[string]any {
	r := map[string]any{}
	if u.report != nil {
		maps.Copy(r, u.report())
	} else {
		maps.Copy(r, report(u.inner))
	}
	if names := u.door.Visitors(); len(names) > 0 {
		r["visitors"] = strings.Join(names, ", ")
	}
	return r
}

// loop is a worker that is one function.
type loop struct{ tomb tomb.Tomb }

// run makes a worker of f, whose context ends when the worker is killed.
func run(f func(context.Context) error) *loop {
	w := &loop{}
	w.tomb.Go(func() error { return f(w.tomb.Context(context.Background())) })
	return w
}

// Kill ends the worker.
func (w *loop) Kill() { w.tomb.Kill(nil) }

// Wait returns when the function has.
func (w *loop) Wait() error { return w.tomb.Wait() }

// report returns a worker's report; nil: it has none.
func report(w worker.Worker) map[string]any {
	if r, ok := w.(dependency.Reporter); ok {
		return r.Report()
	}
	return nil
}

// output is the Output of every unit: what it provides, or its entrance.
func output(in worker.Worker, out any) error {
	u, is := in.(*unit)
	if !is {
		return fmt.Errorf("expected a worker of package manifolds, got %T", in)
	}
	for _, value := range u.values {
		if assign(out, value) {
			return nil
		}
	}
	if within, is := u.inner.(*unit); is {
		return output(within, out) // that one is asked to leave, too, and waits for the visitors
	}
	if assign(out, Entrance(&u.door)) {
		return nil
	}
	if u.foreign == nil {
		return fmt.Errorf("%s has no output of type %s", u.name, wanted(out))
	}
	return u.foreign(u.inner, out)
}

// Gate makes the workers of m visitors of the owners that it names, which must
// be inputs of m: an owner frees what it owns only when the visit has ended,
// which is when the worker's Wait has returned. An owner that stops kills the
// worker at once.
func Gate(name string, m dependency.Manifold, owners ...string) dependency.Manifold {
	start, foreign := m.Start, m.Output
	m.Start = func(ctx dependency.Context) (worker.Worker, error) {
		u := &unit{name: name, ctx: ctx, foreign: foreign}
		return u.begin(owners, func(u *unit) (worker.Worker, error) { return start(u.ctx) })
	}
	m.Output = output
	return m
}

// Flag lets m run only while the worker that is called flag offers a true
// gate.Flag. Its answer is constant for that worker's life, so m stops when
// the condition ends, and the flag's owner waits for that.
func Flag(name, flag string, m dependency.Manifold) dependency.Manifold {
	start := m.Start
	m.Inputs = with(m.Inputs, flag)
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

func with(inputs []string, name string) []string {
	if slices.Contains(inputs, name) {
		return inputs
	}
	return append(slices.Clone(inputs), name)
}
