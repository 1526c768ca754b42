package resource_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/state"
	"github.com/interrex/interrex/state/statetest"
)

func TestTableConforms(t *testing.T) {
	t.Run("owner deletion", func(t *testing.T) {
		statetest.Run(t, statetest.Config{
			New:     func() state.Table { return reaping{resource.New()} },
			Command: randomCommand,
		})
	})
	statetest.Run(t, statetest.Config{
		New:     func() state.Table { return resource.New() },
		Command: randomCommand,
	})
}

// randomCommand names few resources, and mostly versions and uids that have been
// answered.
func randomCommand(r *rand.Rand, seen []state.Reply) []byte {
	at := id(fmt.Sprintf("test.v%d.Thing", 1+r.IntN(2)), fmt.Sprint("r", r.IntN(4)))
	version, owner := "", (*interrex.ResourceID)(nil)
	if len(seen) > 0 && r.IntN(2) == 0 {
		last := seen[len(seen)-1-r.IntN(min(4, len(seen)))].(*resource.Reply)
		version = last.Revision.String()
		if r.IntN(4) == 0 {
			at.UID = last.UID
		}
	}
	if r.IntN(3) == 0 {
		o := uid(id("test.v1.Thing", fmt.Sprint("r", r.IntN(4))), fmt.Sprint("u", r.IntN(2)))
		owner = &o
	}
	if r.IntN(12) == 0 {
		return (&resource.Clear{Selection: interrex.ResourceSelection{Type: at.Type, Tenancy: at.Tenancy, NamePrefix: at.Name[:r.IntN(2)+1]}}).Append(nil)
	}
	if r.IntN(5) < 2 {
		return (&resource.Delete{ID: at, Version: version, Strict: r.IntN(4) == 0}).Append(nil)
	}
	return (&resource.Write{
		ID: at, Version: version, Owner: owner, Strict: version != "" && r.IntN(4) == 0, Overwrite: version == "" && r.IntN(2) == 0,
		Metadata: metadata(map[string]string{"n": fmt.Sprint(r.IntN(3))}), Data: text(fmt.Sprint(r.IntN(100))),
	}).Append(nil)
}

// reaping is a table whose owners take along what they own.
type reaping struct{ *resource.Table }

func (r reaping) Configure(value func(string) string) {
	r.Table.Configure(func(name string) string {
		if name == "resources.owner-deletion" {
			return "*"
		}
		return value(name)
	})
}
