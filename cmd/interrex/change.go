package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/wording"
)

func newChange(a *app) *cobra.Command {
	c := group(&cobra.Command{
		Use:   "change",
		Short: "The feed of committed changes",
		Example: `  interrex change append --tag deploy --data '{"app":"web","version":7}'
  interrex change list --tag deploy
  interrex change watch --kind lease.expired -o json`,
	})
	c.AddCommand(newChangeAppend(a), newChangeGet(a), newChangeList(a), newChangeWatch(a))
	return c
}

// changes runs one command about changes, which may take as long as it waits.
func (a *app) changes(c *cobra.Command, wait time.Duration, do func(context.Context, interrex.Changes) error) error {
	return a.with(c.Context(), a.timeout+wait, func(ctx context.Context, s session) error { return do(ctx, s.client.Changes()) })
}

// filterFlags are the flags of which changes are wanted.
func filterFlags(c *cobra.Command, f *interrex.ChangeFilter) {
	c.Flags().StringArrayVar(&f.Tags, "tag", nil, "only changes with this tag; several: with any of them")
	c.Flags().StringSliceVar(&f.Kinds, "kind", nil, "only changes of this kind, such as lease.claimed, resource.written or user; several: of any of them (default all, like *)")
	c.Flags().StringVar(&f.Prefix, "prefix", "", "only keys with this prefix")
}

func newChangeAppend(a *app) *cobra.Command {
	var r interrex.AppendRequest
	var data string
	c := &cobra.Command{
		Use:   "append --data JSON",
		Short: "Append a change of your own",
		Example: `  interrex change append --data '{"app":"web"}' --tag deploy
  date | jq -R . | interrex change append --data -`,
		Args: arguments(0, "no arguments but --data"),
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if r.Data, err = changeData(c, data); err != nil {
				return usageError{err}
			}
			return a.changes(c, 0, func(ctx context.Context, changes interrex.Changes) error {
				answer, err := changes.Append(ctx, r)
				if err != nil {
					return err
				}
				return a.printChange(answer.Change)
			})
		},
	}
	c.Flags().StringVar(&data, "data", "", "any JSON; - reads it from standard input")
	c.Flags().StringArrayVar(&r.Tags, "tag", nil, "a tag to find it by; may be repeated")
	a.requestIDFlag(c)
	return c
}

// changeData reads what is appended.
func changeData(c *cobra.Command, data string) (json.RawMessage, error) {
	if !c.Flags().Changed("data") {
		return nil, errors.New("--data is missing: give any JSON, or - for standard input")
	}
	text := []byte(data)
	if data == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(os.Stdin, maxValue+1)); err != nil {
			return nil, fmt.Errorf("cannot read the data: %w", err)
		}
	}
	text = bytes.TrimSpace(text)
	switch err := json.Unmarshal(text, new(any)); {
	case err == nil, json.Valid(text): // a number beyond a double's range is for the agent to refuse
		return text, nil
	case len(text) == 0:
		return nil, errors.New("--data is empty: give any JSON")
	case strings.ContainsRune(`{["`, rune(text[0])):
		return nil, fmt.Errorf("--data is not JSON: %w", err)
	}
	return nil, fmt.Errorf("--data is not JSON: a string needs quotes, as in '\"%s\"'", wording.Excerpt(string(text), shownData))
}

func newChangeGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "get REVISION",
		Short:   "Show a change",
		Example: `  interrex change get 17 -o json`,
		Args:    arguments(1, "REVISION"),
		RunE: func(c *cobra.Command, args []string) error {
			revision, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("REVISION: %q is not a number", args[0])}
			}
			return a.changes(c, 0, func(ctx context.Context, changes interrex.Changes) error {
				found, err := changes.Get(ctx, interrex.Revision(revision))
				if err != nil {
					return err
				}
				return a.printChange(found)
			})
		},
	}
}

func newChangeList(a *app) *cobra.Command {
	var r interrex.ListChangesRequest
	var limit uint16
	c := &cobra.Command{
		Use:   "list",
		Short: "List changes, in order",
		Example: `  interrex change list --tag deploy
  interrex change list --since 120 --limit 10 -o json
  interrex change list --since 120 --kind user --block 1m     waits for the next one`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			r.Limit = int(limit)
			return a.changes(c, r.Block, func(ctx context.Context, changes interrex.Changes) error {
				p, err := changes.List(ctx, r)
				if err != nil {
					return err
				}
				list := listing{revision: p.Revision}
				t := table{header: changeHeader}
				var names []string
				for _, one := range p.Items {
					list.items = append(list.items, documentOfChange(one))
					t.rows = append(t.rows, changeRow(one))
					names = append(names, one.Revision.String())
				}
				if !p.AtEnd {
					a.say("more follow: list --since %d", p.Items[len(p.Items)-1].Revision)
				}
				return a.print(list, t, names...)
			})
		},
	}
	filterFlags(c, &r.ChangeFilter)
	c.Flags().Uint64Var((*uint64)(&r.Since), "since", 0, "after this revision (default: from the oldest that is kept)")
	c.Flags().Uint16Var(&limit, "limit", 0, "maximum number of changes, up to 1000 (default 100)")
	c.Flags().Var(&duration{to: &r.Block, least: time.Millisecond, most: interrex.MaxBlock}, "block", "how long to wait for the first change if there is none yet (default: do not wait)")
	return c
}

func newChangeWatch(a *app) *cobra.Command {
	var r interrex.WatchChangesRequest
	c := &cobra.Command{
		Use:   "watch",
		Short: "Print changes as they are committed",
		Example: `  interrex change watch
  interrex change watch --since 120 --kind user -o json`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withLong(c.Context(), func(s session) error { return a.watchChanges(c.Context(), s, r) })
		},
	}
	filterFlags(c, &r.ChangeFilter)
	c.Flags().Uint64Var((*uint64)(&r.Since), "since", 0, "after this revision (default: from the oldest that is kept)")
	return c
}

// watchChanges prints until the command is told to end.
func (a *app) watchChanges(ctx context.Context, s session, r interrex.WatchChangesRequest) error {
	w, err := s.client.Changes().Watch(ctx, r)
	if err != nil {
		return err
	}
	return follow(ctx, a, w, changeHeader, a.changeEvent)
}

// changeEvent prints one change of a watch.
func (a *app) changeEvent(one interrex.Change) error {
	return a.printEvent(documentOfChange(one), one.Revision.String(), changeRow(one)...)
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
