package copies

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/access"
	"github.com/interrex/interrex/internal/change"
	"github.com/interrex/interrex/internal/lease"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/member"
	"github.com/interrex/interrex/internal/resource"
	"github.com/interrex/interrex/internal/webhook"
	"github.com/interrex/interrex/state"
)

// Contents is what is in a snapshot.
type Contents struct {
	interrex.Snapshot
	// LastChange is when the newest change that is kept was made, by the wall clock of the
	// leader of that time; zero: none is kept.
	LastChange time.Time
	Tables     []Table
	Namespaces []Namespace // the largest first
}

// Table is one table's section.
type Table struct {
	Name    string
	Version uint16
	Count   int // of its rows; -1: it is not known here
	Bytes   int64
}

// Namespace is what one namespace has.
type Namespace struct {
	Name              string
	Leases, Resources int
	Bytes             int64 // of both, and of the leases' history
}

// Inspect reads a snapshot and verifies all of it; fresh returns empty tables. The
// memory that it takes is about that of the largest table.
func Inspect(r io.Reader, fresh func() []state.Table) (Contents, error) {
	i := inspection{spaces: map[string]*Namespace{}}
	facts, err := machine.Inspect(r, fresh, i.see)
	if err != nil {
		return Contents{}, err
	}
	i.Snapshot = facts
	for _, n := range i.spaces {
		i.Namespaces = append(i.Namespaces, *n)
	}
	slices.SortFunc(i.Namespaces, func(a, b Namespace) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Name, b.Name))
	})
	return i.Contents, nil
}

// inspection collects what is in a snapshot.
type inspection struct {
	Contents
	spaces map[string]*Namespace
}

// see adds a section.
func (i *inspection) see(name string, version uint16, bytes int64, t state.Table) {
	count := -1
	switch t := t.(type) {
	case *lease.Table:
		count = t.Count()
		t.Tally(func(namespace string, leases, bytes int) { i.space(namespace).add(leases, 0, bytes) })
	case *resource.Table:
		count = int(t.Usage().Count)
		t.Tally(func(namespace string, bytes int) { i.space(namespace).add(0, 1, bytes) })
	case *change.Table:
		count, _ = t.Kept()
		i.LastChange = t.Newest()
	case *webhook.Table:
		count = len(t.Hooks())
	case *member.Table:
		count = len(t.Members())
	case *access.Table:
		count = len(t.Tokens())
	}
	i.Tables = append(i.Tables, Table{Name: name, Version: version, Count: count, Bytes: bytes})
}

func (i *inspection) space(name string) *Namespace {
	n := i.spaces[name]
	if n == nil {
		n = &Namespace{Name: strings.Clone(name)} // name shares the memory of a row
		i.spaces[n.Name] = n
	}
	return n
}

func (n *Namespace) add(leases, resources, bytes int) {
	n.Leases += leases
	n.Resources += resources
	n.Bytes += int64(bytes)
}
