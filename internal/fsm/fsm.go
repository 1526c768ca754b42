// Package fsm owns the table of an embedder's own state machine: commands and
// replies as bytes, the replies that are kept for repeated requests, and stopping
// a machine that panics or disagrees with others.
package fsm

import "github.com/interrex/interrex/internal/limits"

// The limits of a machine.
const (
	// MaxData is the maximum size of a command in bytes: 1 MiB, less what is stored
	// with it in the log.
	MaxData = limits.MaxOperationBytes - 4<<10
	// MaxResult is the maximum size of a result in bytes.
	MaxResult = MaxData
	// MaxError is how many bytes of an error's text are kept.
	MaxError = 4 << 10
	// MaxSnapshot is the maximum size of a snapshot in bytes.
	MaxSnapshot = 256 << 20
	// MaxAnswers and MaxAnswerBytes limit the number and the bytes of the replies
	// that are kept for repeated requests. The newest one is always kept.
	MaxAnswers     = 4096
	MaxAnswerBytes = 16 << 20
)

// Applied is the kind of the event of a command, whose value is an interrex.FSMEvent.
const Applied = "fsm.applied"
