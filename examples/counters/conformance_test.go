package counters_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/examples/counters"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestTableConforms(t *testing.T) {
	statetest.Run(t, statetest.Config{
		New: func() state.Table { table, _ := counters.Table(); return table },
		Command: func(r *rand.Rand, _ []state.Reply) []byte {
			k := interrex.Key{Namespace: "test", Name: fmt.Sprint("k", r.IntN(6))}
			switch r.IntN(3) {
			case 0:
				ttl := time.Duration(r.IntN(10)) * time.Second
				return (&counters.Set{Key: k, Value: r.Uint64N(50), TTL: ttl}).Append(nil)
			case 1:
				return (&counters.Increment{Key: k, By: r.Uint64N(9), Limit: 60}).Append(nil)
			}
			return (&counters.Increment{Key: k, By: 1}).Append(nil)
		},
	})
}
