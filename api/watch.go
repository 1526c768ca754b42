package api

import (
	"context"
	"math"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/wire"
)

// watch sends lease events until its caller goes, the server drains, or the
// watch has to be begun again.
func (s *Server) watch(ctx context.Context, r *connect.Request[interrexv1.WatchRequest], to *connect.ServerStream[interrexv1.WatchResponse]) error {
	f, err := s.config.Leases.feed(s, callerOf(ctx), r.Msg)
	if err != nil {
		return wire.Error(err)
	}
	if err := s.calls.enter(); err != nil {
		return wire.Error(err)
	}
	defer s.calls.leave(1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.calls.ended, func() { cancel(drainingError()) })()
	if s.ahead(f.since) {
		if err := s.refuseFuture(f.since, s.catchUp(ctx, callerOf(ctx), f.since)); err != nil {
			return s.rpcError(orCause(ctx, err))
		}
	}
	if err := s.watchAlone(ctx, f, messages{stream: to, json: strings.Contains(r.Header().Get("Content-Type"), "json")}); err != nil && ctx.Err() == nil || interrex.KindOf(context.Cause(ctx)) != "" {
		return s.rpcError(orCause(ctx, err))
	}
	return nil
}

// orCause gives the reason for which the server itself has ended ctx, else err.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); interrex.KindOf(cause) != "" {
		return cause
	}
	return err
}

// watchAlone serves one watch on a call of its own, with the call's flow
// control.
func (s *Server) watchAlone(ctx context.Context, f feed, to messages) error {
	a := newAudience(s, callerOf(ctx))
	defer a.close()
	if err := a.add(&watched{feed: f, credit: math.MaxInt}); err != nil {
		return err
	}
	send := s.sender(ctx)
	// The headers say that it has begun: from then on nothing is missed.
	if err := send(func() error { return to.stream.Send(nil) }); err != nil {
		return err
	}
	for {
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
		}
	}
}

// always is a closed channel.
func always() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// messages collects the responses of one call of LeaseService.Watch.
type messages struct {
	stream *connect.ServerStream[interrexv1.WatchResponse]
	json   bool
}

// send sends events that are encoded already. In the binary encoding their
// bytes go into the message as they are: protobuf writes unknown fields as it
// got them.
func (m messages) send(all []*interrexv1.WatchEvents) error {
	var b []byte
	for _, group := range all {
		for _, e := range group.GetEvents() {
			b = protowire.AppendTag(b, eventsField, protowire.BytesType)
			b = protowire.AppendBytes(b, e)
		}
	}
	r := &interrexv1.WatchResponse{}
	if !m.json {
		r.ProtoReflect().SetUnknown(b)
	} else if err := proto.Unmarshal(b, r); err != nil {
		return err
	}
	return m.stream.Send(r)
}

// eventsField is the number of WatchResponse.events.
const eventsField = 1
