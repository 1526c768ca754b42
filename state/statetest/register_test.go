package statetest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestRegisterConforms(t *testing.T) {
	statetest.Run(t, statetest.Config{
		New: func() state.Table { return statetest.NewRegister() },
		Command: func(r *rand.Rand, _ []state.Reply) []byte {
			key := fmt.Sprint("key", r.IntN(12))
			switch r.IntN(5) {
			case 0:
				return statetest.Delete(key)
			case 1:
				return statetest.Set(key, "x", time.Duration(1+r.IntN(20))*time.Second)
			case 2:
				return []byte{9}
			}
			return statetest.Set(key, fmt.Sprint("text", r.Uint32()), 0)
		},
	})
}
