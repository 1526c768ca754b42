package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/alarm"
	"github.com/interrex/interrex/internal/wording"
)

var reportOutputs = []string{"text", "json", "dot", "table", "yaml", "name"}

func newReport(a *app) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "report",
		Short: "Show the dependency engine: every worker, its state, inputs, starts and last error",
		Long: `Shows the dependency engine: every worker, its state, inputs, starts and last error.

A worker runs only while its inputs do. Inputs marked offers: and uses: are slots,
which always run: a worker offers something there while it runs (raft, for example),
and those that use the slot keep running while nothing is offered.`,
		Example: `  interrex agent report
  interrex agent report -o dot | dot -Tsvg > engine.svg`,
		Args: arguments(0, "no arguments"),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := oneOutput(output, reportOutputs); err != nil {
				return err
			}
			a.output = output
			return a.with(c.Context(), a.timeout, func(ctx context.Context, s session) error {
				m, err := s.client.Report(ctx)
				if err != nil {
					return err
				}
				return a.report(m)
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", cmp.Or(os.Getenv("INTERREX_OUTPUT"), "text"), "text, json, yaml or dot")
	fixedFlag(c, "output", reportOutputs...)
	return c
}

func (a *app) report(m *interrexv1.ReportResponse) error {
	if a.output == "dot" && !a.quiet {
		return a.line(dot(m))
	}
	var names []string
	for _, w := range m.GetWorkers() {
		names = append(names, w.GetName())
	}
	return a.print(m, reportTable(m), names...)
}

// reportTable returns a row for each worker, its inputs without the prefix that all
// names share.
func reportTable(m *interrexv1.ReportResponse) table {
	t := table{header: []string{"WORKER", "STATE", "STARTS", "UP", "INPUTS", "ERROR"}}
	prefix := sharedPrefix(m.GetWorkers())
	for _, w := range m.GetWorkers() {
		var inputs []string
		for _, input := range w.GetInputs() {
			inputs = append(inputs, slotRole(w, input)+strings.TrimPrefix(input, prefix))
		}
		up := "-"
		if w.GetState() == "started" && w.GetStartedAt() != nil {
			up = wording.Rounded(time.Since(w.GetStartedAt().AsTime()).Round(time.Second))
		}
		t.rows = append(t.rows, []string{
			w.GetName(), w.GetState(), fmt.Sprint(w.GetStarts()), up,
			cmp.Or(strings.Join(inputs, " "), "-"), cmp.Or(trouble(w), "-"),
		})
		t.notes = append(t.notes, reportedAlarms(w)...)
	}
	return t
}

// slotRole says what the worker does with an input that is a slot; "" for a plain input.
func slotRole(w *interrexv1.Worker, input string) string {
	switch {
	case slices.Contains(w.GetOffers(), input):
		return "offers:"
	case slices.Contains(w.GetUses(), input):
		return "uses:"
	}
	return ""
}

// reportedAlarms returns two rows for each alarm in a worker's report.
func reportedAlarms(w *interrexv1.Worker) (rows [][]string) {
	raised := w.GetReport().GetFields()[alarm.ReportKey].GetStructValue().GetFields()
	for _, name := range slices.Sorted(maps.Keys(raised)) {
		a := raised[name].GetStructValue().GetFields()
		rows = append(rows,
			[]string{"ALARM " + name, a["text"].GetStringValue() + ", since " + a["since"].GetStringValue()},
			[]string{"  to do", a["do"].GetStringValue()})
	}
	return rows
}

// sharedPrefix returns the prefix up to a dash that all names share.
func sharedPrefix(workers []*interrexv1.Worker) string {
	if len(workers) == 0 {
		return ""
	}
	first := workers[0].GetName()
	prefix := first[:strings.IndexByte(first, '-')+1]
	for _, w := range workers {
		if !strings.HasPrefix(w.GetName(), prefix) {
			return ""
		}
	}
	return prefix
}

// trouble says why a worker does not run, how often it has failed, and when it
// will be started again.
func trouble(w *interrexv1.Worker) string {
	text := firstLine(w.GetError())
	if text != "" && w.GetFailures() > 0 {
		text += "; failed " + wording.Count(w.GetFailures(), "time")
	}
	if next := w.GetNextStartAt(); next != nil {
		text += ", next start in " + wording.Rounded(max(time.Until(next.AsTime()), 0).Round(time.Second))
	}
	return text
}

// firstLine drops the stack of a panic.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// dot draws the engine for Graphviz: an arrow goes from an input to the worker that
// needs it, a dashed one to a slot and from there to its users.
func dot(m *interrexv1.ReportResponse) string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n", m.GetAgentId())
	b.WriteString("  rankdir=LR;\n  node [shape=box, style=filled, fontname=\"sans-serif\"];\n")
	for _, w := range m.GetWorkers() {
		label := fmt.Sprintf("%s\n%s, %s", w.GetName(), w.GetState(), wording.Count(w.GetStarts(), "start"))
		fmt.Fprintf(&b, "  %q [label=%q, tooltip=%q, fillcolor=%q];\n",
			w.GetName(), label, cmp.Or(trouble(w), w.GetState()), colour(w))
	}
	for _, w := range m.GetWorkers() {
		for _, input := range slices.Sorted(slices.Values(w.GetInputs())) {
			switch slotRole(w, input) {
			case "":
				fmt.Fprintf(&b, "  %q -> %q;\n", input, w.GetName())
			case "uses:":
				fmt.Fprintf(&b, "  %q -> %q [style=dashed, label=\"used by\"];\n", input, w.GetName())
			default:
				fmt.Fprintf(&b, "  %q -> %q [style=dashed, label=\"offers\"];\n", w.GetName(), input)
			}
		}
	}
	b.WriteString("}")
	return b.String()
}

// waitsForInput ends the error of a worker that waits for another one, which may be off, as
// may a flag: on a follower, that of the leader.
const waitsForInput = "dependency not available"

// colour is green for a worker that runs, yellow for one that is starting or
// stopping, red for one that has failed, grey for one that is off or waits.
func colour(w *interrexv1.Worker) string {
	switch {
	case w.GetState() == "started":
		return "palegreen"
	case w.GetError() != "" && !strings.Contains(w.GetError(), "off by configuration") && !strings.HasSuffix(w.GetError(), waitsForInput):
		return "salmon"
	case w.GetState() == "starting", w.GetState() == "stopping":
		return "khaki"
	}
	return "lightgrey"
}
