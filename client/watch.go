package client

import (
	"context"
	"errors"
	"io"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// watchBuffer is how many events a watch takes in before its reader has asked;
// beyond them the agent holds the rest back.
const watchBuffer = 64

// watch is interrex.LeaseWatch: one goroutine receives, and resumes.
type watch struct {
	c       *Client
	request interrex.WatchRequest // Since is that of the next connection
	present bool                  // amid the present leases
	events  chan interrex.LeaseEvent
	err     error // why it ended, once events is closed
	life    context.Context
	cancel  context.CancelFunc
}

func newWatch(ctx context.Context, c *Client, r interrex.WatchRequest) (*watch, error) {
	if r.Namespace != "" {
		if err := interrex.ValidateNamespace(r.Namespace); err != nil {
			return nil, err
		}
	}
	w := &watch{c: c, request: r, events: make(chan interrex.LeaseEvent, watchBuffer)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life.Err() != nil {
		return nil, errClientClosed()
	}
	w.life, w.cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, w.cancel)
	c.watches.Go(func() {
		defer close(w.events)
		defer w.cancel()
		defer stop()
		w.err = w.run()
	})
	return w, nil
}

// Next gives the next event: see interrex.LeaseWatch. When ctx ends before, it
// is KindTimeout, and the watch goes on.
func (w *watch) Next(ctx context.Context) (interrex.LeaseEvent, error) {
	select {
	case e, more := <-w.events:
		if !more {
			return interrex.LeaseEvent{}, w.err
		}
		return e, nil
	case <-ctx.Done():
		return interrex.LeaseEvent{}, interrex.Errorf(interrex.KindTimeout, "no lease event in time").WithCause(context.Cause(ctx))
	}
}

// Close ends the watch and waits until it has ended.
func (w *watch) Close() error {
	w.cancel()
	for range w.events {
	}
	return nil
}

// run connects again and again, until the watch is over or cannot go on.
func (w *watch) run() error {
	for failures := 0; ; failures++ {
		p := w.c.endpoint()
		got, err := w.connect(p)
		if w.life.Err() != nil {
			return interrex.Errorf(interrex.KindWatchClosed, "the watch was closed").WithCause(context.Cause(w.life))
		}
		if kind := interrex.KindOf(err); !kind.Retryable() && kind != interrex.KindOutcomeUnknown {
			return err
		}
		if w.present {
			return interrex.Errorf(interrex.KindWatchClosed, "the watch broke amid the present leases: watch again from 0: %v", err).WithCause(err)
		}
		w.c.config.Logger.Debugf("%s: the watch broke: %v: resuming after revision %d", p.url, err, w.request.Since)
		w.c.leave(p)
		if got {
			failures = 0
		}
		pause(w.life, max(backoff(failures), wire.RetryAfter(err)))
	}
}

// connect is one connection's life. It reports whether it brought anything.
func (w *watch) connect(p *endpoint) (got bool, err error) {
	ctx, cancel := context.WithCancel(w.life)
	defer cancel()
	stream, err := p.leases.Watch(ctx, connect.NewRequest(&interrexv1.WatchRequest{
		Namespace: w.request.Namespace, Prefix: w.request.Prefix, Since: uint64(w.request.Since),
	}))
	if err != nil {
		return false, wire.FromError(err, false)
	}
	defer func() {
		cancel() // Close would read what is left
		_ = stream.Close()
	}()
	for stream.Receive() {
		if !got {
			if err := w.c.epochs.accept(stream.ResponseHeader()); err != nil {
				return false, err
			}
			got = true
		}
		if err := w.take(stream.Msg()); err != nil {
			return got, err
		}
	}
	if err := stream.Err(); err != nil && !errors.Is(err, io.EOF) {
		return got, wire.FromError(err, false)
	}
	return got, interrex.Errorf(interrex.KindUnavailable, "%s has ended the watch", p.url)
}

// take hands one event on, and notes where to resume.
func (w *watch) take(m *interrexv1.WatchResponse) error {
	e, err := wire.FromLeaseEvent(m.GetEvent())
	if err != nil {
		return interrex.Errorf(interrex.KindWatchClosed, "cannot read an event: %v", err)
	}
	select {
	case w.events <- e:
	case <-w.life.Done():
		return w.life.Err()
	}
	w.present = e.Kind == interrex.LeasePresent
	if !w.present {
		w.request.Since = e.Revision
	}
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
