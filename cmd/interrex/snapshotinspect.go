package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/internal/assembly"
	"github.com/interrex/interrex/internal/copies"
	"github.com/interrex/interrex/internal/disk"
)

// maxNamespaces is how many namespaces are shown.
const maxNamespaces = 10

func newSnapshotInspect(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect FILE",
		Short: "Verify a snapshot file, and show what is in it",
		Long: `Verifies a snapshot file, reads all of it, and shows what is in it: the cluster and the
revision that it is of, its tables, and the ten namespaces with the most bytes of leases and resources.
- is standard input. It needs no agent. If the file is damaged, cut, of another program
or of a newer version, the exit code is 1, and the error names the part.

A table of a program that embeds interrex is listed with its bytes; this command cannot
read what is in it, and verifies its checksums only.`,
		Example: `  interrex snapshot inspect backup.snap
  interrex snapshot inspect backup.snap -o json | jq -r .revision
  ssh backups 'cat backup.snap' | interrex snapshot inspect -`,
		Args: arguments(1, "FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			all, err := inspectFile(c.Context(), args[0])
			if err != nil {
				return a.interrupted(c.Context(), fmt.Errorf("cannot inspect %s: %w", displayName(args[0]), err))
			}
			return a.printContents(args[0], all)
		},
	}
}

func inspectFile(ctx context.Context, path string) (copies.Contents, error) {
	if path == "-" {
		return copies.Inspect(standardInput(ctx), assembly.OwnTables)
	}
	if err := disk.MustBeRegular(path); err != nil {
		return copies.Contents{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return copies.Contents{}, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return copies.Inspect(f, assembly.OwnTables)
}

// inspectedSnapshot is the document of a snapshot that was looked into.
type inspectedSnapshot struct {
	File string `json:"file"`
	snapshotFacts
	LastChange string              `json:"last_change"` // empty: no change is kept
	Tables     []snapshotTable     `json:"tables"`
	Namespaces []snapshotNamespace `json:"namespaces"` // the ten largest
}

type snapshotTable struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Count   *int   `json:"count"` // null: it is not known
	Bytes   string `json:"bytes"`
}

type snapshotNamespace struct {
	Name      string `json:"name"`
	Leases    int    `json:"leases"`
	Resources int    `json:"resources"`
	Bytes     string `json:"bytes"`
}

func (a *app) printContents(file string, c copies.Contents) error {
	d := inspectedSnapshot{File: file, snapshotFacts: factsOf(c.Snapshot)}
	rows := factRows(c.Snapshot)
	if !c.LastChange.IsZero() {
		d.LastChange = c.LastChange.UTC().Format(time.RFC3339Nano)
		rows = append(rows, []string{"LAST CHANGE", stamp(c.LastChange)})
	}
	var tables, spaces table
	d.Tables, tables = tablesOf(c)
	d.Namespaces, spaces = namespacesOf(c)
	if a.quiet || a.output != "table" {
		return a.print(d, table{}, c.ClusterID)
	}
	return a.tables(table{rows: rows}, tables, spaces)
}

func tablesOf(c copies.Contents) ([]snapshotTable, table) {
	all, t := []snapshotTable{}, table{header: []string{"TABLE", "VERSION", "ROWS", "BYTES"}}
	for _, one := range c.Tables {
		d, count := snapshotTable{Name: one.Name, Version: int(one.Version), Bytes: strconv.FormatInt(one.Bytes, 10)}, "-"
		if one.Count >= 0 {
			d.Count, count = &one.Count, strconv.Itoa(one.Count)
		}
		all = append(all, d)
		t.rows = append(t.rows, []string{d.Name, strconv.Itoa(d.Version), count, d.Bytes})
	}
	return all, t
}

func namespacesOf(c copies.Contents) ([]snapshotNamespace, table) {
	all, t := []snapshotNamespace{}, table{header: []string{"NAMESPACE", "LEASES", "RESOURCES", "BYTES"}}
	for _, n := range c.Namespaces[:min(len(c.Namespaces), maxNamespaces)] {
		d := snapshotNamespace{Name: n.Name, Leases: n.Leases, Resources: n.Resources, Bytes: strconv.FormatInt(n.Bytes, 10)}
		all = append(all, d)
		t.rows = append(t.rows, []string{d.Name, strconv.Itoa(d.Leases), strconv.Itoa(d.Resources), d.Bytes})
	}
	return all, t
}
