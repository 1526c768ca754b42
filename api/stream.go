package api

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/queue"
	"github.com/interrex/interrex/state"
)

// streamService is StreamService: many operations at once.
type streamService struct{ server *Server }

var _ interrexv1.StreamServiceHandler = streamService{}

// Operate serves one stream until its peer has closed it and everything is
// answered, or until the server has drained.
func (h streamService) Operate(ctx context.Context, conn *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]) error {
	s := h.server
	ctx, cancel := context.WithCancelCause(ctx)
	st := &stream{
		server: s, conn: conn, caller: callerOf(ctx), ctx: ctx, end: cancel,
		wake: make(chan struct{}, 1), open: map[uint64]*opened{},
	}
	received := make(chan error, 1)
	go func() { received <- st.guarded(st.receive) }()
	err := st.write(received)
	cancel(err)
	if !st.received && stopReading(ctx) {
		<-received // its read deadline has passed: it is about to return
	}
	st.close()
	return s.rpcError(err)
}

// stream is one client's or agent's stream of operations. One goroutine
// receives, one writes; writes of an agent that leads have none of their own.
type stream struct {
	server *Server
	conn   *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]
	caller caller
	ctx    context.Context
	end    context.CancelCauseFunc
	wake   chan struct{} // something waits for the writer

	received bool // the receiver has returned; the writer's own

	mu      sync.Mutex
	closed  bool
	work    sync.WaitGroup
	open    map[uint64]*opened
	results []result
	answers []*interrexv1.StreamAnswer
}

// opened is an operation that has not been answered.
type opened struct {
	ctx    context.Context
	cancel context.CancelFunc
	waits  bool
}

// receive takes in messages until the peer has no more.
func (st *stream) receive() error {
	for {
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
		st.accept(m.GetOperations())
	}
}

// accept begins the operations of one message: its writes as one batch, its
// strong reads in one round.
func (st *stream) accept(operations []*interrexv1.StreamOperation) {
	now := st.server.config.Clock.Now()
	var writes []result
	var strong []*interrexv1.StreamOperation
	for _, in := range operations {
		if cancel, is := in.GetRequest().(*interrexv1.StreamOperation_Cancel); is {
			st.cancel(cancel.Cancel)
			continue
		}
		o, err := st.begin(in)
		if err != nil {
			st.deliver(st.server.failure(in, err))
			continue
		}
		options, isRead := readOptions(in)
		switch {
		case isRead && options == interrex.ReadOptions{}:
			strong = append(strong, in)
		case isRead:
			st.read(o, in)
		default:
			if w, err := newWrite(st.caller, in, now); err != nil {
				st.finish(st.server.failure(in, err))
			} else {
				o.waits = w.waits()
				writes = append(writes, result{w: w, o: o})
			}
		}
	}
	st.propose(writes, now)
	st.readAll(strong)
}

// begin opens an operation.
func (st *stream) begin(in *interrexv1.StreamOperation) (*opened, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.open[in.GetId()] != nil:
		return nil, interrex.Errorf(interrex.KindInvalid, "id: %d is open on this stream already", in.GetId())
	case len(st.open) >= st.server.config.MaxOpen:
		err := interrex.Errorf(interrex.KindOverloaded, "%d operations are open on this stream: wait for answers", len(st.open))
		err.RetryAfter = maxPause
		return nil, err
	case st.closed:
		return nil, drainingError()
	}
	if err := st.server.served(st.caller, in); err != nil {
		return nil, err
	}
	if err := st.server.calls.enter(); err != nil {
		return nil, err
	}
	o := &opened{}
	o.ctx, o.cancel = context.WithCancel(st.ctx)
	st.open[in.GetId()] = o
	return o, nil
}

// cancel ends an operation whose caller has gone.
func (st *stream) cancel(id uint64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if o := st.open[id]; o != nil {
		o.cancel()
	}
}

// propose sends writes on their way: into this agent's queue where it leads.
func (st *stream) propose(writes []result, now time.Time) {
	if len(writes) == 0 {
		return
	}
	if !st.server.config.Leadership.Current().Leader {
		for _, p := range writes {
			st.carry(p)
		}
		return
	}
	ops := make([]*queue.Operation, len(writes))
	for i, p := range writes {
		ops[i] = p.w.operation(now, p.o.ctx.Done(), func(r state.Result) {
			p.r = r
			st.settle(p)
		})
	}
	st.server.config.Queue.Enqueue(st.ctx, ops...)
}

// start runs what may have to wait for others; close waits for it.
func (st *stream) start(fn func()) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.closed {
		return
	}
	st.work.Go(func() {
		if err := st.guarded(func() error { fn(); return nil }); err != nil {
			st.end(err)
		}
	})
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

// carry takes one write to another agent.
func (st *stream) carry(p result) {
	st.start(func() { st.finish(st.server.write(p.o.ctx, p.w)) })
}

// read answers one read that may have to wait for a revision.
func (st *stream) read(o *opened, in *interrexv1.StreamOperation) {
	st.start(func() { st.finish(st.server.read(o.ctx, st.caller, in)) })
}

// readAll answers strong reads, all by one question to the leader.
func (st *stream) readAll(reads []*interrexv1.StreamOperation) {
	if len(reads) == 0 {
		return
	}
	st.start(func() {
		for _, a := range st.server.readAll(st.ctx, st.caller, reads) {
			st.finish(a)
		}
	})
}

// close ends what is open, and waits for it. The stream's context has ended.
func (st *stream) close() {
	st.mu.Lock()
	st.closed = true
	for id, o := range st.open {
		delete(st.open, id)
		o.cancel()
		st.server.calls.leave()
	}
	st.mu.Unlock()
	st.work.Wait()
}
