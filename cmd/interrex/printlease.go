package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wire"
	"github.com/interrex/interrex/internal/wording"
)

// printLease prints one lease: `-q` its token, `-o name` its key.
func (a *app) printLease(l interrex.Lease) error {
	return a.printOne(l, leaseTable([]interrex.Lease{l}))
}

func (a *app) printOne(l interrex.Lease, t table) error {
	name := l.Key.String()
	if a.quiet {
		name = l.Token.String()
	}
	return a.print(wire.Lease(l), t, name)
}

func leaseTable(leases []interrex.Lease) table {
	t := table{header: []string{"KEY", "HOLDER", "TOKEN", "TTL", "REMAINING", "PINS", "WAITING"}}
	for _, l := range leases {
		t.rows = append(t.rows, []string{
			l.Key.String(), l.Holder, l.Token.String(), wording.Rounded(l.TTL), remaining(l), strconv.Itoa(len(l.Pins)), waiting(l),
		})
	}
	return t
}

func remaining(l interrex.Lease) string {
	if l.Pinned() {
		return "pinned"
	}
	return wording.Rounded(l.Remaining)
}

func waiting(l interrex.Lease) string {
	if l.Waiting == nil {
		return "-"
	}
	return strconv.Itoa(*l.Waiting)
}

// printLeases prints a whole list.
func (a *app) printLeases(leases []interrex.Lease, revision interrex.Revision) error {
	return a.printAll(leases, revision, leaseTable(leases))
}

func (a *app) printAll(leases []interrex.Lease, revision interrex.Revision, t table) error {
	list := listing{revision: revision}
	var names []string
	for _, l := range leases {
		list.items = append(list.items, wire.Lease(l))
		names = append(names, l.Key.String())
	}
	return a.print(list, t, names...)
}

// pinOwners names the owners of a lease's pins.
func pinOwners(l interrex.Lease) string {
	var owners []string
	for _, p := range l.Pins {
		owners = append(owners, p.Owner)
	}
	slices.Sort(owners)
	return strings.Join(owners, ", ")
}
