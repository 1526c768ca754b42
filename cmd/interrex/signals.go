package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"github.com/juju/loggo"

	"github.com/interrex/interrex/agent"
	"github.com/interrex/interrex/internal/execution"
)

// untilSignal returns a context that the first INT or TERM ends, with an
// interrupt as its cause.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	execution.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
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

// stay runs an agent until it ends, reloads its configuration at each SIGHUP, and drains
// it when ctx ends.
func stay(ctx context.Context, one *agent.Agent, hup <-chan os.Signal, logger loggo.Logger) error {
	ended := make(chan error, 1)
	go func() { ended <- one.Wait() }()
	for {
		select {
		case err := <-ended:
			logger.Infof("stopped")
			return err
		case <-hup:
			if _, err := one.Reload(); err != nil {
				logger.Errorf("%s", oneLine(err.Error()))
			}
		case <-ctx.Done():
			err := errors.Join(one.Stop(context.WithoutCancel(ctx)), <-ended)
			logger.Infof("stopped")
			return err
		}
	}
}
