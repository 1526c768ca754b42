package testtable_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/interrex/interrex/internal/testtable"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestTablesConform(t *testing.T) {
	for name, table := range map[string]func() state.Table{
		"register": func() state.Table { return testtable.NewRegister() },
		"staged":   func() state.Table { return testtable.NewStaged(testtable.RegisterTable) },
	} {
		t.Run(name, func(t *testing.T) { conforms(t, table) })
	}
}

func conforms(t *testing.T, table func() state.Table) {
	statetest.Run(t, statetest.Config{
		New: table,
		Command: func(r *rand.Rand, _ []state.Reply) []byte {
			key := fmt.Sprint("key", r.IntN(12))
			switch r.IntN(5) {
			case 0:
				return testtable.Delete(key)
			case 1:
				return testtable.Set(key, "x", time.Duration(1+r.IntN(20))*time.Second)
			case 2:
				return []byte{9}
			}
			return testtable.Set(key, fmt.Sprint("text", r.Uint32()), 0)
		},
	})
}
