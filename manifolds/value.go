package manifolds

import (
	"fmt"

	"github.com/juju/worker/v3"
	"github.com/juju/worker/v3/dependency"
	"gopkg.in/tomb.v2"
)

// valueWorker keeps a value for as long as it lives, and frees it after.
type valueWorker struct {
	tomb   tomb.Tomb
	free   func() error
	report func() map[string]any
}

// keep runs a valueWorker. free and report may be nil.
func keep(free func() error, report func() map[string]any) *valueWorker {
	w := &valueWorker{free: free, report: report}
	w.tomb.Go(func() error {
		<-w.tomb.Dying()
		if w.free == nil {
			return nil
		}
		return w.free()
	})
	return w
}

// Kill ends the worker.
func (w *valueWorker) Kill() { w.tomb.Kill(nil) }

// Wait returns when the value has been freed.
func (w *valueWorker) Wait() error { return w.tomb.Wait() }

// Report passes on what the value says of itself.
func (w *valueWorker) Report() map[string]any {
	if w.report == nil {
		return nil
	}
	return w.report()
}

// get asks for an input of one type.
func get[T any](ctx dependency.Context, name string) (T, error) {
	var value T
	err := ctx.Get(name, &value)
	return value, err
}

// outputs gives any of several values, by the type that is asked for.
func outputs(out any, values ...any) error {
	for _, value := range values {
		if assign(out, value) {
			return nil
		}
	}
	return fmt.Errorf("cannot give a %T", out)
}

// holder is a worker together with what it gives to its dependents.
type holder struct {
	worker.Worker
	values []any
}

// Report passes on what the worker says of itself.
func (h *holder) Report() map[string]any { return report(h.Worker) }

// give makes a worker offer values to those who ask for their types.
func give(w worker.Worker, values ...any) *holder { return &holder{Worker: w, values: values} }

func giveOutput(in worker.Worker, out any) error { return outputs(out, in.(*holder).values...) }
