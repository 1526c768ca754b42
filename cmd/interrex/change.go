package main

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

func newChange(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "change",
		Short: "Read, watch and append to the feed of committed changes",
		Example: `  interrex change append --tag deploy --data '{"app":"web","version":7}'
  interrex change list --tag deploy
  interrex change watch --kind lease.expired -o json`,
	})
	c.AddCommand(newChangeAppend(a), newChangeGet(a), newChangeList(a), newChangeWatch(a))
	return c
}

// changes runs one command about changes, which may take wait longer than --timeout.
func (a *app) changes(c *cobra.Command, wait time.Duration, do func(context.Context, interrex.Changes) error) error {
	return a.with(c.Context(), a.timeout+wait, func(ctx context.Context, s session) error { return do(ctx, s.client.Changes()) })
}

// filterFlags adds the flags that select changes.
func filterFlags(c *cobra.Command, f *interrex.ChangeFilter) {
	c.Flags().StringArrayVar(&f.Tags, "tag", nil, "only changes with this tag; if repeated, with any of them")
	c.Flags().StringSliceVar(&f.Kinds, "kind", nil, "only changes of this kind, such as lease.claimed, resource.written or user; if repeated, of any of them (default all, like *)")
	c.Flags().StringVar(&f.Prefix, "prefix", "", "only keys with this prefix")
}

// changeDocument is a change as JSON.
type changeDocument struct {
	Revision interrex.Revision `json:"revision,string"`
	Kind     string            `json:"kind"`
	Key      string            `json:"key"`
	Tags     []string          `json:"tags"`
	Time     time.Time         `json:"time"`
	Data     json.RawMessage   `json:"data"`
}

func documentOfChange(c interrex.Change) changeDocument {
	d := changeDocument{Revision: c.Revision, Kind: c.Kind, Key: c.Key, Tags: c.Tags, Time: c.Time, Data: c.Data}
	if d.Tags == nil {
		d.Tags = []string{}
	}
	return d
}

var changeHeader = []string{"REVISION", "TIME", "KIND", "KEY", "TAGS", "DATA"}

func changeRow(c interrex.Change) []string {
	return []string{c.Revision.String(), stamp(c.Time), c.Kind, cmp.Or(c.Key, "-"), cmp.Or(strings.Join(c.Tags, ","), "-"), wording.Excerpt(string(c.Data), shownData)}
}

// printChange prints one change: its revision with `-q` and `-o name`.
func (a *app) printChange(c interrex.Change) error {
	return a.print(documentOfChange(c), table{header: changeHeader, rows: [][]string{changeRow(c)}}, c.Revision.String())
}
