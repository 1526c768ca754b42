package watches

import (
	"context"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/wire"
)

// watchStream is one client's stream of watches. One goroutine receives; the other
// runs the audience, and sends.
type watchStream struct {
	server   *Server
	conn     *connect.BidiStream[interrexv1.StreamServiceWatchRequest, interrexv1.StreamServiceWatchResponse]
	ctx      context.Context
	ended    <-chan struct{} // closed when the stream has to end; see admission.Calls.EndedFor
	audience *audience
	requests chan *interrexv1.StreamServiceWatchRequest
	received chan error // why the receiver has returned; nil if the client has closed its side
	over     bool       // received has been read
	catching []*watched // waiting until this agent has caught up with the cluster
	caughtUp chan error // why it could not
	work     sync.WaitGroup
}

// receive passes on messages until the peer has closed its side. It reads one only
// when the last one was taken.
func (st *watchStream) receive() (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = st.server.checker.Panicked(interrexv1.StreamServiceWatchProcedure, reason)
		}
	}()
	for {
		m, err := st.conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n := len(m.GetOpens()) + len(m.GetCredits()) + len(m.GetCloses()); n > wire.MaxOperations {
			return interrex.Errorf(interrex.ErrTooLarge, "opens, credits and closes: %d in one message are more than %d", n, wire.MaxOperations)
		}
		select {
		case st.requests <- m:
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		}
	}
}

// serve sends the events of the watches, all that are available in one message.
func (st *watchStream) serve() error {
	send := admission.Sender(st.ctx, st.server.clock, st.server.sendWait)
	// The headers are sent first: they identify this agent to the peer.
	if err := send(func() error { return st.conn.Send(nil) }); err != nil {
		return err
	}
	out, busy := &message{}, always()
	for !st.over {
		st.catchUp()
		alarm, idle := st.audience.gather(out)
		if !out.empty() {
			err := sendOut(st.ctx, st.audience.account, out.bytes, func() error {
				return send(func() error { return st.conn.Send(&out.StreamServiceWatchResponse) })
			})
			if err != nil {
				return err
			}
			out = &message{}
		}
		if !idle {
			alarm = busy
		}
		if err := st.await(alarm, out); err != nil {
			return err
		}
	}
	return nil
}

// await waits for a message of the client, and handles it, or for the alarm.
func (st *watchStream) await(alarm <-chan struct{}, out *message) error {
	select {
	case m := <-st.requests:
		st.do(m, out)
	case lag := <-st.caughtUp:
		st.settle(lag, out)
	case <-alarm:
	case <-st.audience.progressDue:
	case <-st.audience.switched:
		st.audience.dismiss(out)
	case err := <-st.received:
		st.over = true
		return err
	case <-st.ended:
		return admission.DrainingError()
	case <-st.ctx.Done():
		return context.Cause(st.ctx)
	}
	return nil
}

// do handles a message of the client.
func (st *watchStream) do(m *interrexv1.StreamServiceWatchRequest, out *message) {
	for _, id := range m.GetCloses() {
		st.audience.forget(id)
	}
	for _, o := range m.GetOpens() {
		st.audience.begin(o, out)
	}
	for _, c := range m.GetCredits() {
		st.audience.allow(c, out)
	}
}

// catchUp asks the leader for the cluster's position, for the watches that are ahead
// of this agent. Those that arrive meanwhile wait for the next time: they may have
// seen more.
func (st *watchStream) catchUp() {
	if len(st.catching) > 0 || len(st.audience.ahead) == 0 {
		return
	}
	st.catching, st.audience.ahead = st.audience.ahead, nil
	var to interrex.Revision
	for _, w := range st.catching {
		to = max(to, w.since)
	}
	st.work.Go(func() {
		st.caughtUp <- st.server.checker.CatchUp(st.ctx, st.audience.caller, to)
	})
}

// settle begins or refuses the watches that were ahead.
func (st *watchStream) settle(lag error, out *message) {
	for _, w := range st.catching {
		if !w.over {
			st.audience.enter(w, st.server.checker.RefuseFuture(w.since, lag), out)
		}
	}
	st.catching = nil
}
