package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

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
