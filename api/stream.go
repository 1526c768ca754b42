package api

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
)

// operate serves one stream until its peer has closed it and everything is
// answered, or until the server has drained.
func (s *Server) operate(ctx context.Context, conn *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	st := &stream{
		server: s, conn: conn, caller: callerOf(ctx), ctx: ctx, end: cancel,
		wake: make(chan struct{}, 1), taken: make(chan struct{}, 1), open: map[uint64]*request{},
	}
	st.courier = newCourier(ctx, s, st.caller, st.settle)
	received := make(chan error, 1)
	go func() { received <- st.guarded(st.receive) }()
	err := st.guarded(func() error { return st.write(received) })
	cancel(err)
	if !st.received && stopReading(ctx) {
		<-received // its read deadline has passed: it is about to return
	}
	st.close()
	return s.rpcError(err)
}

// stream is one client's or agent's stream of operations. One goroutine
// receives, one writes; writes to the log have none of their own.
type stream struct {
	server  *Server
	conn    *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]
	caller  caller
	courier *courier
	ctx     context.Context
	end     context.CancelCauseFunc
	wake    chan struct{} // something waits for the writer
	taken   chan struct{} // the writer has taken what waited

	received bool        // the receiver has returned; the writer's own
	sweeping atomic.Bool // the writer checks what is at another agent

	mu      sync.Mutex
	closed  bool
	open    map[uint64]*request
	settled []settled // for the writer to answer
	refused []refused // the same, of operations that were not opened
}

// receive takes in messages until the peer has no more.
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
		if n := len(m.GetOperations()); n > MaxMessages {
			return interrex.Errorf(interrex.KindTooLarge, "operations: %d in one message are more than %d", n, MaxMessages)
		}
		st.accept(m)
	}
}

// room waits until the writer has taken most of the refusals: they have a
// limit, as open operations do. A peer that does not read is not read from.
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

// accept begins the operations of one message: its writes as one batch, its
// linearizable reads in one round, and its local reads one after the other, the
// quick ones here.
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
		case r.method.Writes():
			writes = append(writes, r)
		case r.read.eventual && st.server.waits(r):
			st.readHere(r)
		case r.read.eventual && r.method.quick:
			quick = append(quick, r)
		case r.read.eventual:
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
	if !st.sweeping.Load() && st.courier.isAbroad() {
		st.poke() // the writer checks on it
	}
}

// begin opens an operation. A panic in its method fails only this one.
func (st *stream) begin(in *interrexv1.Operation) (_ *request, err error) {
	defer st.server.guard(in.GetMethod(), &err)
	m := st.server.methods[in.GetMethod()]
	if m == nil {
		return nil, interrex.Errorf(interrex.KindInvalid, "method: agent %s serves none of number %d", st.server.config.ID, in.GetMethod())
	}
	if err := bounded("body", len(in.GetBody())); err != nil {
		return nil, err
	}
	message, err := m.decode(in.GetBody())
	if err == nil {
		err = unlifted(message)
	}
	if err != nil {
		return nil, err
	}
	r, err := st.server.open(st.caller, m, in, message, st.server.config.Clock.Now())
	if err != nil {
		return nil, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.mayOpen(in.GetId()); err != nil {
		return nil, err
	}
	if err := st.server.calls.enter(); err != nil {
		return nil, err
	}
	st.open[in.GetId()] = r
	return r, nil
}

// mayOpen returns why the peer may not open an operation under this id; nil if
// it may. The lock is held.
func (st *stream) mayOpen(id uint64) error {
	switch {
	case st.closed:
		return drainingError()
	case st.open[id] != nil:
		return interrex.Errorf(interrex.KindInvalid, "id: %d is open on this stream already", id)
	case len(st.open) >= st.server.config.MaxOpen:
		err := interrex.Errorf(interrex.KindOverloaded, "%d operations are open on this stream: wait for answers", len(st.open))
		err.RetryAfter = maxPause
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

// guarded makes a panic the end of this stream, and not of the process: the
// RPC library looks after the writer's goroutine alone.
func (st *stream) guarded(fn func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = st.server.panicked(interrexv1.StreamServiceOperateProcedure, reason)
		}
	}()
	return fn()
}

// start runs what may have to wait for others; close waits for it.
func (st *stream) start(fn func()) {
	st.courier.start(func() {
		if err := st.guarded(func() error { fn(); return nil }); err != nil {
			st.end(err)
		}
	})
}

// readNow answers reads of what this agent has.
func (st *stream) readNow(reads []*request) {
	if len(reads) == 0 {
		return
	}
	outcomes := make([]outcome, len(reads))
	begun := st.server.begun()
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

// readAll answers linearizable reads, all with one request to the leader.
func (st *stream) readAll(reads []*request) {
	if len(reads) == 0 {
		return
	}
	st.start(func() {
		st.settleAll(reads, st.server.readAll(st.ctx, st.caller, reads))
	})
}

// close ends what is open, and waits for it. The stream's context has ended.
func (st *stream) close() {
	st.mu.Lock()
	st.closed = true
	left := st.open
	st.open = map[uint64]*request{}
	st.mu.Unlock()
	for _, r := range left {
		r.cancel()
		st.server.calls.leave(1)
	}
	st.courier.close()
}
