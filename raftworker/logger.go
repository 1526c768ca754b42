package raftworker

import "github.com/interrex/interrex"

// Logger is an interrex.Logger that takes what hashicorp/raft traces, too. A
// loggo.Logger is one.
type Logger interface {
	interrex.Logger
	Tracef(format string, args ...any)
	IsTraceEnabled() bool
}
