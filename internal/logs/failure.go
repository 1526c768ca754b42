package logs

import (
	"errors"

	"github.com/interrex/interrex"
)

// Failure distinguishes a failure of what is retried from its repetitions, which are not
// logged. The zero value is that of what has not failed. It is for one goroutine.
type Failure struct{ last string }

// New reports whether err, the result of the present attempt, is a failure of which the
// one before had none like it. Errors of kind ErrOverloaded are alike: they say how much
// room is left.
func (f *Failure) New(err error) bool {
	before := f.last
	switch {
	case err == nil:
		f.last = ""
	case errors.Is(err, interrex.ErrOverloaded):
		f.last = string(interrex.ErrOverloaded)
	default:
		f.last = err.Error()
	}
	return f.last != "" && f.last != before
}
