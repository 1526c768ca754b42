package main

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// inputPoll is how often, in milliseconds, a command that waits for its standard input looks
// whether it was interrupted.
const inputPoll = 100

// input is standard input until ctx ends: a Read that waits then returns its cause.
type input struct{ ctx context.Context }

// standardInput returns standard input for a command that a signal may end.
func standardInput(ctx context.Context) io.Reader { return input{ctx} }

// Read implements io.Reader.
func (in input) Read(p []byte) (int, error) {
	fds := []unix.PollFd{{Fd: int32(os.Stdin.Fd()), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, inputPoll)
		switch {
		case in.ctx.Err() != nil:
			return 0, context.Cause(in.ctx)
		case err != nil && !errors.Is(err, unix.EINTR):
			return 0, err
		case n > 0:
			return os.Stdin.Read(p)
		}
	}
}
