// Package doctor owns the examination of a machine that runs an agent, or is about to:
// its clock, disk, ports, names and certificates, and whether its cluster has a quorum.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/interrex/interrex/config"
	"github.com/interrex/interrex/internal/check"
)

// Level says how bad a finding is.
type Level string

// The levels, the worst last.
const (
	OK   Level = "ok"
	Warn Level = "warn" // works, and deserves a look
	Fail Level = "fail" // an agent does not work here, or will soon stop to
)

var levels = []Level{OK, Warn, Fail}

// Finding is the result of one check.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`         // what was found, and what it means
	Do    string `json:"do,omitempty"` // what to do; empty: nothing
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Level: OK, Text: fmt.Sprintf(format, args...)}
}

func found(check string, level Level, do, format string, args ...any) Finding {
	return Finding{Check: check, Level: level, Text: fmt.Sprintf(format, args...), Do: do}
}

// Worst returns the worst level of the findings.
func Worst(all []Finding) Level {
	worst := 0
	for _, f := range all {
		worst = max(worst, slices.Index(levels, f.Level))
	}
	return levels[worst]
}

// Machine examines what needs no agent, within about 20 s. It changes nothing: its one
// file in the data directory is removed again, and a port is bound for a moment only
// if no agent runs with this configuration.
func Machine(ctx context.Context, c config.Config) []Finding {
	var all []Finding
	all = append(all, clock()...)
	all = append(all, diskOf(c.Agent.DataDir)...)
	all = append(all, listening(ctx, c, check.Answers(check.SocketPath(c)))...)
	all = append(all, names(ctx, c)...)
	return append(all, certificates(c, time.Now())...)
}
