package main

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/interrex/interrex/gen/interrexv1"
)

func TestDotColoursWorkersByTheirState(t *testing.T) {
	text := dot(&interrexv1.ReportResponse{AgentId: "one", Workers: []*interrexv1.Worker{
		{Name: "raft", State: "started", Starts: 2, Inputs: []string{"transport", "clock"}},
		{Name: "leases", State: "stopped", Error: `off by configuration: "x"`},
		{Name: "webhooks", State: "stopped", Starts: 1, Error: "leader is not set: dependency not available"},
		{Name: "notify", State: "stopped", Error: "cannot open: why\ngoroutine 1"},
		{Name: "transport", State: "stopping"},
		{Name: "api", Inputs: []string{"raft-slot"}, Uses: []string{"raft-slot"}},
		{Name: "raft-worker", Inputs: []string{"raft-slot"}, Offers: []string{"raft-slot"}},
	}})
	for _, want := range []string{
		`"raft" [label="raft\nstarted, 2 starts", tooltip="started", fillcolor="palegreen"];`,
		`"leases" [label="leases\nstopped, 0 starts", tooltip="off by configuration: \"x\"", fillcolor="lightgrey"];`,
		`"webhooks" [label="webhooks\nstopped, 1 start", tooltip="leader is not set: dependency not available", fillcolor="lightgrey"];`,
		`tooltip="cannot open: why", fillcolor="salmon"];`,
		`fillcolor="khaki"];`,
		"\"clock\" -> \"raft\";\n  \"transport\" -> \"raft\";",
		`"raft-slot" -> "api" [style=dashed, label="used by"];`,
		`"raft-worker" -> "raft-slot" [style=dashed, label="offers"];`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

func TestTroubleIsThatOfAWorkerThatDoesNotRun(t *testing.T) {
	for want, w := range map[string]*interrexv1.Worker{
		"":                           {Failures: 3},
		"no disk; failed 1 time":     {Error: "no disk", Failures: 1},
		"no disk; failed 3 times":    {Error: "no disk\ngoroutine 1", Failures: 3},
		"off by configuration":       {Error: "off by configuration"},
		"no disk, next start in 0 s": {Error: "no disk", NextStartAt: timestamppb.New(time.Unix(1, 0))},
	} {
		if got := trouble(w); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
