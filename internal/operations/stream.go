package operations

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/consistency"
	"github.com/interrex/interrex/internal/method"
)

// stream is one client's or agent's stream of operations. One goroutine receives,
// and one sends answers; operations of the log need no others.
type stream struct {
	server  *Server
	conn    *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]
	caller  admission.Caller
	courier *courier
	ctx     context.Context
	end     context.CancelCauseFunc
	ended   context.Context // done when the stream has to end; see admission.Calls.EndedFor
	wake    chan struct{}   // signals that there is something to write
	taken   chan struct{}   // signals that the writer has taken the answers

	received bool        // the receiver has returned; used only by the writer
	sweeping atomic.Bool // the writer checks the operations at other agents

	mu      sync.Mutex
	closed  bool
	open    map[uint64]*request
	settled []settled // to be answered by the writer
	refused []refused // the same, for operations that were not opened
}

// receive handles messages until the peer has closed its side.
func (st *stream) receive() error {
	for {
		if err := st.room(); err != nil {
			return err
		}
		m, err := st.conn.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n := len(m.GetOperations()); n > maxMessages {
			return interrex.Errorf(interrex.ErrTooLarge, "operations: %d in one message are more than %d", n, maxMessages)
		}
		st.accept(m)
	}
}

// room waits until the writer has taken most of the refusals, whose number is
// limited as that of open operations is: nothing more is read from a peer that does
// not read.
func (st *stream) room() error {
	for {
		st.mu.Lock()
		full := len(st.refused) >= st.server.config.MaxOpen
		st.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-st.taken:
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		}
	}
}

// accept begins the operations of one message: the writes as one batch, the
// linearizable reads in one round, and the local reads one after the other, quick
// ones on this goroutine.
func (st *stream) accept(m *interrexv1.OperateRequest) {
	for _, id := range m.GetCancels() {
		st.cancel(id)
	}
	var writes, quick, local, strong []*request
	for _, in := range m.GetOperations() {
		r, err := st.begin(in)
		switch {
		case err != nil:
			st.refuse(in, err)
		case r.Method.Writes():
			writes = append(writes, r)
		case r.Read.Eventual && st.server.waits(r):
			st.readHere(r)
		case r.Read.Eventual && r.Method.Quick:
			quick = append(quick, r)
		case r.Read.Eventual:
			local = append(local, r)
		default:
			strong = append(strong, r)
		}
	}
	st.courier.send(writes)
	st.readNow(quick)
	if len(local) > 0 {
		st.start(func() { st.readNow(local) })
	}
	st.readAll(strong)
	if !st.sweeping.Load() && st.courier.hasRemote() {
		st.poke() // so that the writer begins to sweep
	}
}

// begin opens an operation. A panic in its method fails only this one.
func (st *stream) begin(in *interrexv1.Operation) (_ *request, err error) {
	m := st.server.methods.Methods[in.GetMethod()]
	if m == nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "method: agent %s serves no method with the number %d", st.server.checker.ID, in.GetMethod())
	}
	defer st.server.checker.Guard(m.Procedure, &err)
	if err := method.Bounded("body", len(in.GetBody())); err != nil {
		return nil, err
	}
	message, err := m.Decode(in.GetBody())
	if err == nil {
		err = method.Unlifted(message)
	}
	if err != nil {
		return nil, err
	}
	r := &request{}
	if err := r.Open(st.server.methods, st.caller, m, in, message, st.server.config.Clock.Now()); err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.mayOpen(in.GetId()); err != nil {
		return nil, err
	}
	if err := st.server.calls.Enter(); err != nil {
		return nil, err
	}
	st.open[in.GetId()] = r
	return r, nil
}

// mayOpen returns an error if the peer may not open an operation with this id. The
// lock is held.
func (st *stream) mayOpen(id uint64) error {
	switch {
	case st.closed, st.ended.Err() != nil:
		return admission.DrainingError()
	case st.open[id] != nil:
		return interrex.Errorf(interrex.ErrInvalid, "id: %d is open on this stream already", id)
	case len(st.open) >= st.server.config.MaxOpen:
		err := interrex.Errorf(interrex.ErrOverloaded, "%d operations are open on this stream: wait for answers", len(st.open))
		err.RetryAfter = consistency.MaxPause
		return err
	}
	return nil
}

// cancel ends an operation whose caller has gone.
func (st *stream) cancel(id uint64) {
	st.mu.Lock()
	r := st.open[id]
	st.mu.Unlock()
	if r != nil {
		r.cancel()
	}
}

// guarded converts a panic to an error that ends this stream, not the process: the
// RPC library recovers only panics of the writer's goroutine.
func (st *stream) guarded(fn func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = st.server.checker.Panicked(interrexv1.StreamServiceOperateProcedure, reason)
		}
	}()
	return fn()
}

// start runs fn, which may block, in a goroutine that close waits for.
func (st *stream) start(fn func()) {
	st.courier.start(func() {
		if err := st.guarded(func() error { fn(); return nil }); err != nil {
			st.end(err)
		}
	})
}

// readNow answers reads from this agent's current state.
func (st *stream) readNow(reads []*request) {
	if len(reads) == 0 {
		return
	}
	outcomes := make([]outcome, len(reads))
	begun := st.server.checker.CheckApplied()
	for i, r := range reads {
		outcomes[i] = st.server.look(r, begun)
	}
	st.settleAll(reads, outcomes)
}

// readHere answers one read that may have to wait for a revision.
func (st *stream) readHere(r *request) {
	ctx, cancel := context.WithCancel(st.ctx)
	r.onCancel(0, cancel)
	st.start(func() {
		defer cancel()
		st.settle(r, st.server.readHere(ctx, r))
	})
}

// readAll answers linearizable reads with a single request to the leader.
func (st *stream) readAll(reads []*request) {
	if len(reads) == 0 {
		return
	}
	st.start(func() {
		st.settleAll(reads, st.server.readAll(st.ctx, st.caller, reads))
	})
}

// settle passes the outcome of an operation to the writer, on any goroutine.
func (st *stream) settle(r *request, o outcome) {
	st.mu.Lock()
	st.settled = append(st.settled, settled{r, o})
	st.mu.Unlock()
	st.poke()
}

// settleAll passes on the outcomes of several.
func (st *stream) settleAll(requests []*request, outcomes []outcome) {
	st.mu.Lock()
	for i, r := range requests {
		st.settled = append(st.settled, settled{r, outcomes[i]})
	}
	st.mu.Unlock()
	st.poke()
}

// refuse answers an operation that is not opened.
func (st *stream) refuse(in *interrexv1.Operation, err error) {
	st.mu.Lock()
	st.refused = append(st.refused, refused{in.GetId(), in.GetMethod(), err})
	st.mu.Unlock()
	st.poke()
}

func (st *stream) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// write sends answers until there will be no more. All that are ready go into one
// message; further ones collect while it is being sent.
func (st *stream) write(received <-chan error) error {
	send := admission.Sender(st.ctx, st.server.config.Clock, st.server.config.SendWait)
	ended := st.ended.Done()
	// The headers are sent first: they identify this agent to the peer.
	if err := send(func() error { return st.conn.Send(nil) }); err != nil {
		return err
	}
	out := outbox{server: st.server, counts: st.caller.Door != admission.Peer}
	sweep := st.server.config.Clock.NewTimer(sweepEvery)
	defer sweep.Stop()
	st.sweeping.Store(true)
	for {
		select {
		case <-st.wake:
		case <-sweep.Chan():
			st.sweeping.Store(false)
		case err := <-received:
			if st.received = true; err != nil {
				return err
			}
			received = nil
		case <-ended:
			st.endWaits()
			ended = nil
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		}
		open := st.take(&out)
		for out.next() {
			if err := send(func() error { return st.conn.Send(&out.message) }); err != nil {
				return err
			}
		}
		if open == 0 && (received == nil || ended == nil) && st.quiet() {
			if received != nil {
				return admission.DrainingError()
			}
			return nil
		}
		if !st.sweeping.Load() && st.courier.sweep() {
			st.sweeping.Store(true)
			sweep.Reset(sweepEvery)
		}
	}
}

// take moves the answers to out, and returns how many operations remain open.
func (st *stream) take(out *outbox) (open int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.settled, out.settled = out.settled[:0], st.settled
	st.refused, out.refused = out.refused[:0], st.refused
	for i := range out.settled {
		delete(st.open, out.settled[i].r.Envelope.GetId())
	}
	st.server.calls.Leave(len(out.settled))
	select {
	case st.taken <- struct{}{}:
	default:
	}
	return len(st.open)
}

// quiet reports whether nothing waits for the writer.
func (st *stream) quiet() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.refused)+len(st.settled)+len(st.open) == 0
}

// endWaits removes waiting claims from the queue, because the stream has to end.
func (st *stream) endWaits() {
	st.mu.Lock()
	var waits []*request
	for _, r := range st.open {
		if r.Waits() {
			waits = append(waits, r)
		}
	}
	st.mu.Unlock()
	for _, r := range waits {
		r.expel()
	}
}

// sweepEvery is how often the writer checks for operations that another agent has
// not answered.
const sweepEvery = time.Second

// close ends the open operations, and waits for them. The stream's context has
// ended.
func (st *stream) close() {
	st.mu.Lock()
	st.closed = true
	left := st.open
	st.open = map[uint64]*request{}
	st.mu.Unlock()
	for _, r := range left {
		r.cancel()
		st.server.calls.Leave(1)
	}
	st.courier.close()
}
