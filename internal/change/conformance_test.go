package change_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestTableConforms(t *testing.T) {
	statetest.Run(t, statetest.Config{
		New: func() state.Table { return few{change.New()} },
		Command: func(r *rand.Rand, _ []state.Reply) []byte {
			c := &change.Append{Data: fmt.Sprintf(`{"n":%d}`, r.IntN(1000))}
			for range r.IntN(3) {
				c.Tags = append(c.Tags, fmt.Sprint("t", r.IntN(4)))
			}
			return c.Append(nil)
		},
	})
}

// few is a feed that keeps little.
type few struct{ *change.Table }

func (f few) Configure(value func(string) string) {
	f.Table.Configure(func(name string) string {
		switch name {
		case "changes.keep-count":
			return "20"
		case "changes.keep-age":
			return "30s"
		}
		return value(name)
	})
}
