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
	"github.com/interrex/interrex/internal/fifo"
	"github.com/interrex/interrex/internal/method"
)

// stream is one client's or agent's stream of operations. One goroutine receives,
// and one sends answers; operations of the log need no others.
type stream struct {
	server  *Server
	conn    *connect.BidiStream[interrexv1.OperateRequest, interrexv1.OperateResponse]
	caller  admission.Caller
	account *admission.Account
	courier *courier
	ctx     context.Context
	end     context.CancelCauseFunc
	ended   context.Context // done when the stream has to end; see admission.Calls.EndedFor
	wake    chan struct{}   // signals that there is something to write

	excess   int         // operations of the last message that were overloaded; used only by the receiver
	received bool        // the receiver has returned; used only by the writer
	sweeping atomic.Bool // the writer checks the operations at other agents
	local    readers     // of this agent's state, by methods that are not quick
	strong   readers     // linearizable ones

	mu      sync.Mutex
	closed  bool
	open    map[uint64]*request // until the writer takes their answers
	writes  fifo.Queue[settled] // to be answered by the writer, before reads
	reads   fifo.Queue[settled] // to be answered by the writer
	refused []refused           // the same, for operations that were not opened
	unsent  load                // what the peer has not taken
	freed   chan struct{}       // closed when there is less of that; nil: nobody waits
}

// load is what a peer has still to take.
type load struct {
	answers  int // that the writer has taken
	refusals int
	bytes    int // of answers, also of those that the writer has not taken
	memory   int // that their requests have taken
}

// maxUnsent and maxRefusals are the size of a stream's unsent answers, and the number
// of unsent refusals, from which on no read is evaluated and nothing is received.
const (
	maxUnsent   = 4 << 20
	maxRefusals = 256
)

// receive handles messages until the peer has closed its side.
func (st *stream) receive() error {
	for {
		if err := st.room(nil, 0); err != nil {
			return err
		}
		if err := st.pause(); err != nil {
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

// room waits until the peer has taken most of its answers: nothing more is read from
// a peer that does not read, and nothing is evaluated for it. Then it reserves bytes for
// the answer of r.
func (st *stream) room(r *request, bytes int) error {
	for {
		st.mu.Lock()
		if st.unsent.refusals < maxRefusals && st.unsent.bytes < maxUnsent {
			if r != nil {
				r.reserved = bytes
				st.unsent.bytes += bytes
			}
			st.mu.Unlock()
			return nil
		}
		if st.freed == nil {
			st.freed = make(chan struct{})
		}
		freed := st.freed
		st.mu.Unlock()
		st.poke()
		select {
		case <-freed:
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		}
	}
}

// Of a peer whose operations were overloaded nothing is received for a while for each of
// them, so that one that goes on sending costs little.
const (
	excessPause = 10 * time.Millisecond
	maxPause    = 2 * time.Second
)

// pause waits after a message with operations that were overloaded. Another agent has
// many callers: they do not wait for each other.
func (st *stream) pause() error {
	wait := min(time.Duration(st.excess)*excessPause, maxPause)
	if st.excess = 0; wait == 0 || st.caller.Door == admission.Peer {
		return nil
	}
	select {
	case <-st.server.config.Clock.After(wait):
		return nil
	case <-st.ctx.Done():
		return context.Cause(st.ctx)
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
	var full error // why no further reads are begun
	for _, in := range m.GetOperations() {
		r, err := st.begin(in, full)
		switch {
		case err != nil:
			if interrex.KindOf(err) == interrex.ErrOverloaded {
				st.excess++
				if st.caller.Door != admission.Peer { // else the next is another caller's
					full = err
				}
			}
			st.refuse(in, err)
		case r.Method.Writes():
			writes = append(writes, r)
		case r.Read.Eventual && st.server.waits(r):
			st.readHere(r)
		case r.Read.Eventual && r.Quick():
			quick = append(quick, r)
		case r.Read.Eventual:
			local = append(local, r)
		default:
			strong = append(strong, r)
		}
	}
	st.courier.send(writes)
	st.readNow(quick)
	st.local.answer(local, st.start, st.readNow)
	st.strong.answer(strong, st.start, st.readAll)
	if !st.sweeping.Load() && st.courier.hasRemote() {
		st.poke() // so that the writer begins to sweep
	}
}

// begin opens an operation. A panic in its method fails only this one. A read fails with
// full if that is not nil.
func (st *stream) begin(in *interrexv1.Operation, full error) (_ *request, err error) {
	m := st.server.methods.Methods[in.GetMethod()]
	if m == nil {
		return nil, interrex.Errorf(interrex.ErrInvalid, "method: agent %s serves no method with the number %d", st.server.checker.ID, in.GetMethod())
	}
	if full != nil && !m.Writes() {
		return nil, full
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
	r := &request{encoding: inProto}
	if err := r.Open(st.server.methods, st.caller, m, in, message, st.server.config.Clock.Now()); err != nil {
		return nil, err
	}
	if err := r.take(st.account, operationBytes+operationCost*len(in.GetBody())); err != nil {
		return nil, err
	}
	if err := st.enter(in.GetId(), r); err != nil {
		st.account.Give(r.taken)
		return nil, err
	}
	return r, nil
}

// enter adds an operation to those that are open.
func (st *stream) enter(id uint64, r *request) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.mayOpen(id); err != nil {
		return err
	}
	r.kind, r.share = r.Kind(), r.Caller.Share()
	if err := st.server.calls.Enter(r.kind, r.share); err != nil {
		return err
	}
	st.open[id] = r
	return nil
}

// mayOpen returns an error if the peer may not open an operation with this id. The
// lock is held.
func (st *stream) mayOpen(id uint64) error {
	switch {
	case st.closed, st.ended.Err() != nil:
		return admission.DrainingError()
	case st.open[id] != nil:
		return interrex.Errorf(interrex.ErrInvalid, "id: %d is open on this stream already", id)
	case len(st.open)+st.unsent.answers >= st.server.config.MaxOpen:
		err := interrex.Errorf(interrex.ErrOverloaded, "%d operations are open on this stream: wait for answers, and read them", len(st.open)+st.unsent.answers)
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
	begun := st.server.checker.CheckApplied()
	st.evaluate(reads, func(r *request) outcome { return st.server.look(st.ctx, r, begun) })
}

// evaluate answers reads one after the other, each once there is room for its answer.
func (st *stream) evaluate(reads []*request, look func(*request) outcome) {
	for _, r := range reads {
		if st.room(r, r.guess()) != nil {
			return // the stream has ended
		}
		st.line(r, r.weighed(st.account, r.guess(), func() outcome { return look(r) }).encoded(inProto))
	}
	st.poke()
}

// readHere answers one read that may have to wait for a revision.
func (st *stream) readHere(r *request) {
	ctx, cancel := context.WithCancel(st.ctx)
	r.onCancel(0, cancel)
	st.start(func() {
		defer cancel()
		if st.room(r, 0) != nil {
			return
		}
		look := func(room func() error) outcome {
			return r.weighed(st.account, 0, func() outcome { return st.server.readHere(ctx, r, room) })
		}
		o := look(func() error { return st.room(r, pageBytes) })
		if r.Method.Await != nil && !st.fits(r, o.size()) {
			// It was read when it came. It is read again once there is room for it.
			r.forget(st.account, o)
			if st.room(r, pageBytes) != nil {
				return
			}
			o = look(nil)
		}
		st.settle(r, o.encoded(inProto))
	})
}

// fits reserves bytes for the answer of r if there is room for it at once.
func (st *stream) fits(r *request, bytes int) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.unsent.bytes >= maxUnsent {
		return false
	}
	r.reserved = bytes
	st.unsent.bytes += bytes
	return true
}

// readAll answers linearizable reads with a single request to the leader.
func (st *stream) readAll(reads []*request) {
	ctx, cancel := context.WithTimeout(st.ctx, st.server.checker.ReadWait)
	defer cancel()
	st.evaluate(reads, st.server.confirm(ctx, st.caller, reads))
}

// settle passes the outcome of an operation to the writer, on any goroutine.
func (st *stream) settle(r *request, o outcome) {
	st.line(r, o)
	st.poke()
}

// line adds an outcome to those that the writer answers the next time.
func (st *stream) line(r *request, o outcome) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.unsent.bytes += len(o.body) - r.reserved
	st.free()
	if r.Method.Writes() {
		r.keep(st.account, o)
		st.writes.Push(settled{r, o})
	} else {
		st.reads.Push(settled{r, o})
	}
}

// refuse answers an operation that is not opened.
func (st *stream) refuse(in *interrexv1.Operation, err error) {
	st.mu.Lock()
	st.unsent.refusals++
	st.account.Force(refusalBytes)
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
// message, as far as they fit; further ones collect while it is being sent, and those
// of writes go into the next one before the reads that are left.
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
		for st.take(&out); out.next(); st.take(&out) {
			st.sends(&out)
			if err := send(func() error { return st.conn.Send(&out.message) }); err != nil {
				return err
			}
			st.sent(&out)
		}
		if (received == nil || ended == nil) && st.quiet() {
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

// take moves the answers to out.
func (st *stream) take(out *outbox) {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.writes.Len() + st.reads.Len()
	for _, all := range [][]settled{st.writes.Items(), st.reads.Items()} {
		for i := range all {
			delete(st.open, all[i].r.Envelope.GetId())
			st.server.calls.Leave(all[i].r.kind, all[i].r.share, 1)
		}
	}
	move(&st.writes, &out.writes)
	move(&st.reads, &out.reads)
	out.refused = append(out.refused, st.refused...)
	st.refused = st.refused[:0]
	st.unsent.answers += n
}

// sends records that a message is about to be sent: a peer that has read an answer
// may send another operation before sent is called.
func (st *stream) sends(out *outbox) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.unsent.answers -= out.took.answers
	st.unsent.refusals -= out.took.refusals
}

// sent records that the peer has taken a message.
func (st *stream) sent(out *outbox) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.unsent.bytes -= out.took.bytes
	st.account.Give(out.took.memory)
	out.clear()
	st.free()
}

// free wakes those who wait for room. The lock is held.
func (st *stream) free() {
	if st.freed != nil && st.unsent.bytes < maxUnsent {
		close(st.freed)
		st.freed = nil
	}
}

// quiet reports whether nothing is open, or waits for the writer.
func (st *stream) quiet() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return len(st.refused)+st.writes.Len()+st.reads.Len()+len(st.open) == 0
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
		st.server.calls.Leave(r.kind, r.share, 1)
	}
	st.courier.close()
}
