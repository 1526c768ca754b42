// Package fsm owns the table of an embedder's own state machine: commands and
// answers as bytes, the answers that are kept for repeated requests, and the
// stop of a machine that panics or disagrees with others.
package fsm

import "github.com/interrex/interrex/state"

// The limits of a machine.
const (
	// MaxData is how many bytes a command has at most: 1 MiB, less what goes with
	// it in the log.
	MaxData = state.MaxOperationBytes - 4<<10
	// MaxResult is how many bytes a result has at most.
	MaxResult = MaxData
	// MaxError is how many bytes of an error's text are kept.
	MaxError = 4 << 10
	// MaxSnapshot is how many bytes a snapshot has at most.
	MaxSnapshot = 256 << 20
	// MaxAnswers and MaxAnswerBytes are how many answers are kept for repeated
	// requests, the newest ones, and how many bytes of them. The newest one is
	// always kept.
	MaxAnswers     = 4096
	MaxAnswerBytes = 16 << 20
)

// Applied is the kind of the event of a command, whose value is an interrex.FSMEvent.
const Applied = "fsm.applied"
