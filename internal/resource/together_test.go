package resource_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/testreplica"
	"github.com/interrex/interrex/state"
)

// Leases, resources and the feed under random operations and groups of all of
// them: nothing halts, copies agree, and no resource outlives its lease.
func TestTablesTogether(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			a, b := newTogether(t), newTogether(t)
			r := rand.New(rand.NewPCG(seed, 9))
			now := state.Time(0)
			for i := range 200 {
				now = now.Add(time.Duration(r.Int64N(int64(time.Second))))
				e := a.entry(r, now)
				a.Apply(e)
				b.Apply(e)
				if a.State.Halted() != nil {
					t.Fatal(a.State.Halted())
				}
				a.look()
				if i%50 == 49 {
					if b.Restart(); !bytes.Equal(a.Snapshot(), b.Snapshot()) {
						t.Fatal("the copies differ")
					}
				}
			}
		})
	}
}

// together is a replica of several tables.
type together struct {
	*testreplica.Replica
	t      *testing.T
	leases *lease.Table
	table  *resource.Table
}

func newTogether(t *testing.T) *together {
	g := &together{t: t}
	g.Replica = testreplica.New(t, func() []state.Table {
		g.leases, g.table = lease.New(), resource.New()
		return []state.Table{g.leases, g.table, change.New()}
	})
	g.Do(0, state.Operation{Table: machine.SystemTable, Data: (&machine.SetSettings{Values: map[string]string{
		"resources.owner-deletion": "test.Even", "resources.max-count": "12"}}).Append(nil)})
	return g
}

// look checks what must hold between entries.
func (g *together) look() {
	g.t.Helper()
	held := map[interrex.Fence]bool{}
	for k, l := range g.held() {
		held[interrex.Fence{Key: k, Token: l}] = true
	}
	g.table.Read(func(v resource.ReadView) {
		for _, kind := range kinds {
			all, _ := v.List(interrex.ResourceSelection{Type: id(kind, "x").Type, Tenancy: id(kind, "x").Tenancy}, "", 100)
			for _, row := range all {
				if row.OwnerLease != nil && !held[*row.OwnerLease] {
					g.t.Fatalf("%s has outlived %v", row.ID, *row.OwnerLease)
				}
			}
		}
	})
	if u := g.table.Usage(); u.Count > 12 {
		g.t.Fatalf("%+v", u)
	}
}

var kinds = []string{"test.v1.Even", "test.v1.Odd"}

// held has the tokens of all leases.
func (g *together) held() map[interrex.Key]interrex.Token {
	all := map[interrex.Key]interrex.Token{}
	g.leases.Read(func(v lease.ReadView) {
		for i := range 3 {
			k := interrex.Key{Namespace: "ns", Name: fmt.Sprint("l", i)}
			if l, there := v.Get(k); there {
				all[k] = l.Token
			}
		}
	})
	return all
}

func (g *together) entry(r *rand.Rand, now state.Time) *machine.Entry {
	e := &machine.Entry{Stamp: now, Wall: testreplica.Wall(now)}
	if r.IntN(120) == 0 {
		c := &machine.Recover{ClusterID: strings.Repeat("ab", 16), Bits: r.Uint64() | 1, Survivor: "me", Incarnation: "disk"}
		e.Operations = append(e.Operations, state.Operation{Table: machine.SystemTable, Data: c.Append(nil)})
	}
	for range r.IntN(4) {
		if r.IntN(3) > 0 {
			var op state.Operation
			keys, names := r.Perm(3), r.Perm(8)
			for i := range 1 + r.IntN(5) {
				one := g.command(r, keys[i%3], names[i])
				op.Group = append(op.Group, state.Part{Table: one.Table, Data: one.Data})
			}
			e.Operations = append(e.Operations, op)
			continue
		}
		e.Operations = append(e.Operations, g.command(r, r.IntN(3), r.IntN(8)))
	}
	return e
}

// command makes one that is mostly done: of what is there.
func (g *together) command(r *rand.Rand, key, name int) state.Operation {
	k := interrex.Key{Namespace: "ns", Name: fmt.Sprint("l", key)}
	token := g.held()[k]
	var c state.Command
	switch n := r.IntN(10); {
	case n < 2 && token == 0:
		c = &lease.Claim{Key: k, Holder: "me", TTL: 5 * time.Second}
	case n == 0:
		c = &lease.Claim{Key: k, Holder: "me", TTL: 5 * time.Second, Takeover: true}
	case n == 1:
		c = &lease.Revoke{Key: k, Token: token}
	case n == 2 && token > 0:
		c = &lease.Transfer{Key: k, Token: token, To: "me"}
	default:
		return state.Operation{Table: machine.ResourceTable, Data: g.resource(r, name).Append(nil)}
	}
	return state.Operation{Table: machine.LeaseTable, Data: c.Append(nil)}
}

func (g *together) resource(r *rand.Rand, name int) state.Command {
	at := id(kinds[r.IntN(2)], fmt.Sprint("r", name))
	version, there := "", []interrex.ResourceID{}
	g.table.Read(func(v resource.ReadView) {
		if row := v.Get(at); row != nil {
			version = row.Version()
		}
		for i := range 8 {
			for _, kind := range kinds {
				if other := id(kind, fmt.Sprint("r", i)); v.Get(other) != nil {
					there = append(there, other)
				}
			}
		}
	})
	switch r.IntN(10) {
	case 0, 1:
		return &resource.Delete{ID: at}
	case 2:
		return &resource.Check{ID: at, Version: orAbsent(version)}
	case 3:
		return &resource.Clear{Selection: interrex.ResourceSelection{Type: at.Type, Tenancy: at.Tenancy, NamePrefix: at.Name}}
	}
	w := &resource.Write{ID: at, Version: version, Data: text(fmt.Sprint(r.IntN(100)))}
	for _, i := range r.Perm(3) {
		k := interrex.Key{Namespace: "ns", Name: fmt.Sprint("l", i)}
		if token := g.held()[k]; token > 0 {
			w.OwnerLease = &interrex.Fence{Key: k, Token: token}
		}
	}
	if version == "" && len(there) > 0 {
		w.Owner = &there[r.IntN(len(there))]
	}
	return w
}

func orAbsent(version string) string {
	if version == "" {
		return resource.Absent
	}
	return version
}
