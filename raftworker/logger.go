package raftworker

import "github.com/interrex/interrex"

// Logger is an interrex.Logger with a level for hashicorp/raft's traces. A
// loggo.Logger is one.
type Logger interface {
	interrex.Logger
	Tracef(format string, args ...any)
	IsTraceEnabled() bool
}
