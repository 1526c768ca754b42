package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// streamPool is how many idle streams raft keeps to each peer: one each for
// replication, heartbeats and votes.
const streamPool = 3

// RaftConfig is what one life of raft.Raft tells its transport.
type RaftConfig struct {
	// Life is what the rules of this life are. nil: there are none.
	Life Life
	// Logger is for hashicorp/raft's own words about its streams; nil is
	// silent.
	Logger hclog.Logger
}

// network is what both kinds of transport below have. It is embedded as this
// interface, not as raft.Transport, so that the optional ones are kept.
type network interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// RaftTransport is the raft.Transport of one life of raft.Raft. Addresses are
// IDs. To end that life: Drain, then raft.Shutdown and its future, then close
// the stores; raft closes the transport itself when it has shut down.
type RaftTransport struct {
	network
	streams   *raft.NetworkTransport // that this agent dials; nil when alone
	stream    *stream
	parent    *Transport
	life      Life
	gate      heartbeatGate
	acks      acks
	committed committed

	logger   hclog.Logger
	beats    atomic.Pointer[func(raft.RPC)] // raft's handler of heartbeats
	handing  sync.Mutex                     // held while one request of another agent is handed to raft
	consumer chan raft.RPC
	drained  chan struct{} // closed by Drain
	closed   chan struct{} // closed by Close
	work     sync.WaitGroup
	drain    sync.Once
	close    sync.Once
}

var (
	_ raft.Transport   = (*RaftTransport)(nil)
	_ raft.WithPreVote = (*RaftTransport)(nil)
	_ raft.WithClose   = (*RaftTransport)(nil)
)

// Raft makes the transport for one life of raft.Raft. One lives at a time: it
// is an error while the previous one has not been closed.
func (t *Transport) Raft(config RaftConfig) (*RaftTransport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return nil, errors.New("cannot make a raft transport: the transport is stopping")
	}
	if t.raft != nil && !t.raft.stream.isClosed() {
		return nil, errors.New("cannot make a raft transport: the previous one is not closed")
	}
	r := &RaftTransport{
		stream:   newStream(t),
		parent:   t,
		life:     config.Life,
		consumer: make(chan raft.RPC),
		drained:  make(chan struct{}),
		closed:   make(chan struct{}),
	}
	if r.life == nil {
		r.life = free{}
	}
	r.connect(config.Logger)
	t.raft = r
	return r, nil
}

// connect makes what is below: TLS streams, or memory for an agent alone.
func (r *RaftTransport) connect(logger hclog.Logger) {
	config := r.parent.config
	if config.TLS == nil {
		_, r.network = raft.NewInmemTransportWithTimeout(raft.ServerAddress(config.ID), config.Timeout)
		return
	}
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	r.logger = logger
	r.work.Go(r.accept)
	r.streams = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          r.stream,
		MaxPool:         streamPool,
		MaxRPCsInFlight: 1,
		Timeout:         config.Timeout,
		Logger:          logger,
	})
	r.network = r.streams
}

// LocalAddr implements raft.Transport: the agent's ID.
func (r *RaftTransport) LocalAddr() raft.ServerAddress {
	return raft.ServerAddress(r.parent.config.ID)
}

// Consumer implements raft.Transport.
func (r *RaftTransport) Consumer() <-chan raft.RPC { return r.consumer }

// SetHeartbeatHandler implements raft.Transport, with the gate in between.
func (r *RaftTransport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		r.beats.Store(nil)
		return
	}
	guarded := r.gate.guard(func(rpc raft.RPC) {
		if !r.answer(rpc) {
			r.parent.memory.hearRequest(rpc.Command)
			handle(rpc)
		}
	})
	r.beats.Store(&guarded)
}

// AppendEntriesPipeline implements raft.Transport: there is none, since a
// follower whose disk has stalled would wedge it for ever (hashicorp/raft#612).
func (r *RaftTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries implements raft.Transport, and notes when it left and what it
// brought if the peer answered in the same term.
func (r *RaftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return r.send(args, func() error {
		var answer raft.AppendEntriesResponse // raft uses its own again
		sent := r.parent.config.Clock.Now()
		err := r.sameLife(id, args, &answer, func() error { return r.network.AppendEntries(id, target, args, &answer) })
		if err != nil {
			return err
		}
		*resp = answer
		if answer.Term == args.Term {
			r.acks.note(id, sent, answer.Term)
			if answer.Success { // a heartbeat brings nothing, and says nothing
				r.acks.matched(id, answer.Term, args.PrevLogEntry+uint64(len(args.Entries)))
			}
		}
		return nil
	})
}

// InstallSnapshot implements raft.Transport, and notes how far the peer's log
// matches if it took the snapshot.
func (r *RaftTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	err := r.life.MaySend(args)
	if err == nil {
		err = r.sameLife(id, args, resp, func() error { return r.network.InstallSnapshot(id, target, args, resp, data) })
	}
	if err == nil && resp.Success && resp.Term == args.Term {
		r.acks.matched(id, resp.Term, args.LastLogIndex)
	}
	return err
}

// RequestVote implements raft.Transport.
func (r *RaftTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return r.send(args, func() error {
		return r.sameLife(id, args, resp, func() error { return r.network.RequestVote(id, target, args, resp) })
	})
}

// RequestPreVote implements raft.WithPreVote.
func (r *RaftTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return r.send(args, func() error {
		return r.sameLife(id, args, resp, func() error { return r.network.RequestPreVote(id, target, args, resp) })
	})
}

// TimeoutNow implements raft.Transport.
func (r *RaftTransport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return r.send(args, func() error {
		return r.sameLife(id, args, resp, func() error { return r.network.TimeoutNow(id, target, args, resp) })
	})
}

// send lets a request leave if this life may send it, and asks again when the
// pooled stream was dead already, as all are to a peer that has been restarted:
// without it the first votes after that are lost. Each of these requests means
// the same when it comes twice.
func (r *RaftTransport) send(request any, call func() error) error {
	err := r.life.MaySend(request)
	if err != nil {
		return err
	}
	err = call()
	for range streamPool {
		if !deadStream(err) || r.isClosed() {
			return err
		}
		err = call()
	}
	return err
}

// sameLife lets no answer count across two lives of raft at the other agent, and
// takes up what it says.
func (r *RaftTransport) sameLife(id raft.ServerID, request, answer any, call func() error) error {
	before := r.parent.memory.life(string(id))
	if err := call(); err != nil {
		return err
	}
	return r.parent.memory.hearAnswer(string(id), before, request, answer)
}

func deadStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, errEarlierLife) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// LastAck returns when the newest AppendEntries left (heartbeats too) that a peer
// has answered in the term of that request, and that term; the zero time when
// there is none. Times of one process compare by its monotonic clock.
func (r *RaftTransport) LastAck(peer raft.ServerID) (sent time.Time, term uint64) {
	last := r.acks.last(peer)
	return last.sent, last.term
}

// MatchIndex returns the highest index of the log that a peer has said in a term
// to have of that term's leader; 0: it has said none.
func (r *RaftTransport) MatchIndex(peer raft.ServerID, term uint64) uint64 {
	return r.acks.match(peer, term)
}

// AckChanged returns a channel that is closed when the next LastAck changes. Ask
// for it before looking, so that nothing falls in between.
func (r *RaftTransport) AckChanged() <-chan struct{} { return r.acks.change() }

// hand passes raft a request of another agent, one at a time, until Drain.
func (r *RaftTransport) hand(rpc raft.RPC) {
	r.handing.Lock()
	defer r.handing.Unlock()
	if r.isDrained() {
		rpc.Respond(nil, raft.ErrRaftShutdown)
		return
	}
	if r.answer(rpc) {
		return
	}
	r.parent.memory.hearRequest(rpc.Command)
	r.committed.heard(rpc.Command, r.parent.config.Clock.Now())
	if answered := r.life.Handing(rpc.Command); answered != nil {
		r.passAndWait(rpc)
		answered()
		return
	}
	r.pass(rpc)
}

func (r *RaftTransport) pass(rpc raft.RPC) {
	select {
	case r.consumer <- rpc:
	case <-r.drained:
		rpc.Respond(nil, raft.ErrRaftShutdown)
	}
}

func (r *RaftTransport) passAndWait(rpc raft.RPC) {
	answer := make(chan raft.RPCResponse, 1)
	followed := rpc
	followed.RespChan = answer
	r.pass(followed)
	select {
	case a := <-answer:
		rpc.Respond(a.Response, a.Error)
	case <-r.closed:
	}
}

// answer answers a request in raft's place if this life does.
func (r *RaftTransport) answer(rpc raft.RPC) bool {
	response, err, answered := r.life.Answer(rpc.Command)
	if answered {
		r.respond(rpc, response, err)
	}
	return answered
}

func (r *RaftTransport) respond(rpc raft.RPC, response any, err error) {
	if rpc.Reader == nil {
		rpc.Respond(response, err)
		return
	}
	// Others must not wait for it; its stream's end bounds it.
	r.work.Go(func() { drain(rpc, response, err) })
}

// drain reads a snapshot to its end, as its sender expects (hashicorp/raft#212),
// and answers.
func drain(rpc raft.RPC, response any, err error) {
	n, cut := io.Copy(io.Discard, rpc.Reader)
	if cut == nil && n != rpc.Command.(*raft.InstallSnapshotRequest).Size {
		cut = errors.New("short read")
	}
	if err == nil && cut != nil {
		err = fmt.Errorf("cannot read the snapshot: %w", cut)
	}
	rpc.Respond(response, err)
}

// Drain closes the gate: after it no heartbeat and no request reaches raft, and
// no heartbeat is in raft's handler any more. What raft's main loop has taken
// is finished by raft.Shutdown's future. Drain waits for as long as the handler
// does, which with a hung disk is until the disk answers: a caller that cannot
// wait so long uses a goroutine of its own.
func (r *RaftTransport) Drain() {
	r.drain.Do(func() { close(r.drained) })
	r.gate.close()
}

// Close implements raft.WithClose: it cuts all streams and waits for their
// goroutines, at most 5 s. It may be called any number of times.
func (r *RaftTransport) Close() error {
	var err error
	r.close.Do(func() { err = r.closeOnce() })
	return err
}

func (r *RaftTransport) closeOnce() error {
	r.drain.Do(func() { close(r.drained) })
	close(r.closed)
	err := r.network.Close()
	_ = r.stream.Close() // done by the former, unless the agent is alone
	if r.streams != nil {
		r.streams.CloseStreams() // empties the pool
	}
	if !r.stream.wait(stopTimeout) || !waitFor(&r.work, stopTimeout) {
		return fmt.Errorf("cannot close the raft transport: its streams are still in use %s after they were cut", stopTimeout)
	}
	return err
}

func (r *RaftTransport) isDrained() bool {
	select {
	case <-r.drained:
		return true
	default:
		return false
	}
}

func (r *RaftTransport) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}
