package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/wire"
)

// table is the output of `--output table`.
type table struct {
	header []string
	rows   [][]string
	notes  [][]string // below the rows, in columns of their own
}

// listing is a list as JSON, all its pages together.
type listing struct {
	items    []any // documents
	revision interrex.Revision
}

// MarshalJSON returns {"items":[...],"revision":"N"}.
func (l listing) MarshalJSON() ([]byte, error) {
	page := struct {
		Items    []json.RawMessage `json:"items"`
		Revision string            `json:"revision"`
	}{Items: []json.RawMessage{}, Revision: l.revision.String()}
	for _, m := range l.items {
		text, err := jsonOf(m)
		if err != nil {
			return nil, err
		}
		page.Items = append(page.Items, text)
	}
	return json.Marshal(page)
}

// print writes a document in the chosen form: as a table, as JSON or YAML, or only
// its names, one per line.
func (a *app) print(document any, t table, names ...string) error {
	if a.quiet || a.output == "name" {
		for _, name := range names {
			if err := a.line(limits.Escaped(name, "")); err != nil {
				return err
			}
		}
		return nil
	}
	switch a.output {
	case "json":
		return a.json(document)
	case "yaml":
		return a.yaml(document)
	}
	return a.table(t)
}

// done says what was done, or prints the document with -o json or yaml.
func (a *app) done(document any, format string, args ...any) error {
	if !a.quiet && (a.output == "json" || a.output == "yaml") {
		return a.print(document, table{})
	}
	a.say(format, args...)
	return nil
}

// secret prints a secret that was made, or the document that has it with -o json or
// yaml.
func (a *app) secret(document any, text string) error {
	if !a.quiet && (a.output == "json" || a.output == "yaml") {
		return a.print(document, table{})
	}
	return a.line(text)
}

// jsonOf returns a document as JSON on one line, without raw control characters; a
// message of the API in the API's JSON.
func jsonOf(document any) ([]byte, error) {
	m, ok := document.(proto.Message)
	if !ok {
		text, err := json.Marshal(document)
		return []byte(limits.Escaped(string(text), "")), err
	}
	text, err := wire.AppendJSON(nil, m)
	if err != nil {
		return nil, err
	}
	// protojson varies its spaces deliberately.
	var plain bytes.Buffer
	err = json.Compact(&plain, text)
	return []byte(limits.Escaped(plain.String(), "")), err
}

func (a *app) json(document any) error {
	text, err := jsonOf(document)
	if err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return err
	}
	return a.line(pretty.String())
}

func (a *app) yaml(document any) error {
	text, err := jsonOf(document)
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(text, &node); err != nil {
		return err
	}
	blockStyle(&node)
	out, err := yaml.Marshal(&node)
	if err != nil {
		return err
	}
	return a.line(limits.Escaped(strings.TrimSuffix(string(out), "\n"), "\n\t"))
}

// blockStyle removes JSON's style from a node. Marshal quotes strings where needed, but
// for those with marks of direction, which it takes for printable.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	if strings.ContainsFunc(n.Value, func(r rune) bool { return r != '\n' && r != '\t' && limits.IsControl(r) }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, child := range n.Content {
		blockStyle(child)
	}
}

func (a *app) table(t table) error {
	rows := t.rows
	if !a.noHeaders && len(t.header) > 0 {
		rows = append([][]string{t.header}, rows...)
	}
	if err := a.grid(rows); err != nil || len(t.notes) == 0 {
		return err
	}
	if err := a.line(""); err != nil {
		return err
	}
	return a.grid(t.notes)
}

// tables prints tables that have rows, with an empty line between them.
func (a *app) tables(all ...table) error {
	for i, t := range all {
		if len(t.rows) == 0 {
			continue
		}
		if i > 0 {
			if err := a.line(""); err != nil {
				return err
			}
		}
		if err := a.table(t); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) grid(rows [][]string) error {
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	for _, row := range rows {
		printRow(w, row)
	}
	return w.Flush()
}

// printRow prints cells without what would control the terminal, or the columns.
func printRow(w *tabwriter.Writer, cells []string) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = w.Write([]byte{'\t'}) // Flush reports the error
		}
		_, _ = io.WriteString(w, limits.Escaped(cell, ""))
	}
	_, _ = w.Write([]byte{'\n'})
}

// columns prints a single row: a watch has no end at which all rows could be
// aligned.
func (a *app) columns(cells ...string) error {
	w := tabwriter.NewWriter(a.out, 22, 4, 2, ' ', 0)
	printRow(w, cells)
	return w.Flush()
}

func (a *app) line(s string) error {
	_, err := fmt.Fprintln(a.out, s)
	return err
}

// say prints a message for people, apart from the data.
func (a *app) say(format string, args ...any) {
	fmt.Fprintln(a.messages, limits.Escaped(fmt.Sprintf(format, args...), "\n\t"))
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
