package api

import (
	"context"
	"math"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// answers sends the messages of one watch.
type answers interface {
	begin() error
	send([]*interrexv1.WatchEvents) error
}

// watch sends the events that a request asks for, unless that could not be
// read, until its caller goes, the server drains, or the watch has to be begun
// again.
func (s *Server) watch(ctx context.Context, m *WatchMethod, f feed, unread error, to answers) error {
	if unread != nil {
		return wire.Error(unread)
	}
	if err := s.served(m.setting, callerOf(ctx)); err != nil {
		return wire.Error(err)
	}
	if err := s.calls.enter(); err != nil {
		return wire.Error(err)
	}
	defer s.calls.leave(1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.calls.ended, func() { cancel(drainingError()) })()
	if err := s.notAhead(ctx, callerOf(ctx), f.since); err != nil {
		return s.rpcError(orCause(ctx, err))
	}
	if err := s.watchAlone(ctx, &watched{feed: f, method: m, credit: math.MaxInt}, to); err != nil && ctx.Err() == nil || interrex.KindOf(context.Cause(ctx)) != "" {
		return s.rpcError(orCause(ctx, err))
	}
	return nil
}

// orCause returns the reason for which the server itself has ended ctx, else err.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); interrex.KindOf(cause) != "" {
		return cause
	}
	return err
}

// watchAlone serves one watch on a call of its own, with the call's flow
// control.
func (s *Server) watchAlone(ctx context.Context, w *watched, to answers) error {
	a := newAudience(s, callerOf(ctx))
	defer a.close()
	if err := a.add(w); err != nil {
		return err
	}
	send := s.sender(ctx)
	// The headers say that it has begun: from then on nothing is missed.
	if err := send(to.begin); err != nil {
		return err
	}
	for {
		if err := s.served(w.method.setting, a.caller); err != nil {
			return err
		}
		var out message
		alarm, idle := a.gather(&out)
		if len(out.Events) > 0 {
			if err := send(func() error { return to.send(out.Events) }); err != nil {
				return err
			}
		}
		if len(out.Ended) > 0 {
			return wire.FromDetail(out.Ended[0].GetError())
		}
		if !idle {
			alarm = always()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-alarm:
		case <-a.switched:
			a.switched = s.config.Switches.changed()
		}
	}
}

// always is a closed channel.
func always() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
