// Command interrex runs agents and speaks to them. It owns flags, printing and
// exit codes, and links the SQL drivers.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code. The first INT or TERM ends the command's context,
// which ends it politely; the second ends the process.
func run(args []string) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	root := newRoot(os.Stdout, os.Stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code, text := exitCode(err)
	if text != "" {
		fmt.Fprintln(os.Stderr, "interrex: "+text)
	}
	return code
}

// untilSignal returns a context that the first INT or TERM ends, with an
// interrupt as its cause.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		defer signal.Stop(signals)
		select {
		case s := <-signals:
			cancel(interrupt(s.(syscall.Signal)))
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// notify is signal.Notify for those of the signals that were not ignored when the
// process was started; the others stay ignored. Go tells that of INT and HUP
// alone: QUIT goes with INT, as in what a script starts in the background.
func notify(c chan<- os.Signal, signals ...os.Signal) {
	for _, sig := range signals {
		known := sig
		if sig == syscall.SIGQUIT {
			known = syscall.SIGINT
		}
		if signal.Ignored(known) {
			signal.Ignore(sig)
		} else {
			signal.Notify(c, sig)
		}
	}
}
