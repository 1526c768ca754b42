package logs

import (
	"errors"
	"fmt"
	"testing"

	"github.com/interrex/interrex"
)

func TestAFailureIsNewUntilItIsRepeated(t *testing.T) {
	full := func(free int) error {
		return fmt.Errorf("cannot record: %w", interrex.Errorf(interrex.ErrOverloaded, "only %d MiB are free", free))
	}
	var f Failure
	for i, step := range []struct {
		err error
		new bool
	}{
		{nil, false}, {full(90), true}, {full(89), false}, {full(80), false},
		{errors.New("no quorum"), true}, {errors.New("no quorum"), false}, {errors.New("no leader"), true},
		{full(80), true}, {nil, false}, {nil, false}, {full(80), true},
	} {
		if f.New(step.err) != step.new {
			t.Errorf("step %d: %v is not as new as it should be", i, step.err)
		}
	}
}
