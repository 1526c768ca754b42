// Package raftstream owns raft's transport: requests of raft over streams between
// agents, what their answers show, and the end of a life of raft.
package raftstream

import (
	"context"
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
	"github.com/juju/clock"

	"github.com/interrex/interrex/internal/inbound"
)

// stopTimeout bounds the wait for users of streams that have been cut.
const stopTimeout = 5 * time.Second

// streamPool is how many idle streams raft keeps to each peer: one each for
// replication, heartbeats and votes.
const streamPool = 3

// Rules are those of one life of raft; none of their methods blocks.
type Rules interface {
	// MaySend returns why a request of raft's (a *raft.RequestVoteRequest, ...) must
	// not leave this agent; nil: it may.
	MaySend(request any) error
	// Answer answers a request of another agent in raft's place; false: raft
	// shall answer it.
	Answer(request any) (response any, err error, answered bool)
	// Handing is told of a request that raft is about to get, heartbeats apart. If
	// it returns a function, that is called once raft has answered, and no other
	// request reaches raft before.
	Handing(request any) (answered func())
}

// Memory is what is remembered of the other agents' logs.
type Memory interface {
	// Life is that of raft at an agent which was met last.
	Life(id string) string
	// HearRequest takes up a request of another agent.
	HearRequest(request any)
	// HearAnswer takes up an agent's answer to a request that went to a life of raft
	// there; the error is ErrEarlierLife when that is over.
	HearAnswer(id, life string, request, answer any) error
}

// Config is what one life of raft's transport is made of.
type Config struct {
	// ID is this agent's, and its address in raft.
	ID string
	// Dial opens a stream to another agent; nil: this agent is alone, and its
	// transport is in memory.
	Dial func(ctx context.Context, id string) (net.Conn, error)
	// Incoming are the streams that other agents open. The transport closes it.
	Incoming *inbound.Inlet
	// Timeout bounds each read and write of a request.
	Timeout time.Duration
	Clock   clock.Clock
	// Logger is for hashicorp/raft's own words about its streams; nil is silent.
	Logger hclog.Logger
	Rules  Rules
	Memory Memory
	// Refused is told of a request that came by the wrong agent's stream.
	Refused func(peer string, err error)
}

// network is what both kinds of transport below have. It is embedded as this
// interface, not as raft.Transport, so that the optional ones are kept.
type network interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// Transport is the raft.Transport of one life of raft.Raft. Addresses are
// IDs. To end that life: Drain, then raft.Shutdown and its future, then close
// the stores; raft closes the transport itself when it has shut down.
type Transport struct {
	network
	streams   *raft.NetworkTransport // that this agent dials; nil when alone
	stream    *stream
	config    Config
	gate      heartbeatGate
	acks      acks
	committed committed

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
	_ raft.Transport   = (*Transport)(nil)
	_ raft.WithPreVote = (*Transport)(nil)
	_ raft.WithClose   = (*Transport)(nil)
)

// New makes the transport for one life of raft.Raft.
func New(config Config) *Transport {
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	r := &Transport{
		stream:   newStream(config),
		config:   config,
		consumer: make(chan raft.RPC),
		drained:  make(chan struct{}),
		closed:   make(chan struct{}),
	}
	r.connect()
	return r
}

// connect makes what is below: streams, or memory for an agent alone.
func (r *Transport) connect() {
	if r.config.Dial == nil {
		_, r.network = raft.NewInmemTransportWithTimeout(raft.ServerAddress(r.config.ID), r.config.Timeout)
		return
	}
	r.work.Go(r.accept)
	r.streams = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:          r.stream,
		MaxPool:         streamPool,
		MaxRPCsInFlight: 1,
		Timeout:         r.config.Timeout,
		Logger:          r.config.Logger,
	})
	r.network = r.streams
}

// LocalAddr implements raft.Transport: the agent's ID.
func (r *Transport) LocalAddr() raft.ServerAddress {
	return raft.ServerAddress(r.config.ID)
}

// Consumer implements raft.Transport.
func (r *Transport) Consumer() <-chan raft.RPC { return r.consumer }

// SetHeartbeatHandler implements raft.Transport, with the gate in between.
func (r *Transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	if handle == nil {
		r.beats.Store(nil)
		return
	}
	guarded := r.gate.guard(func(rpc raft.RPC) {
		if !r.answer(rpc) {
			r.config.Memory.HearRequest(rpc.Command)
			handle(rpc)
		}
	})
	r.beats.Store(&guarded)
}

// AppendEntriesPipeline implements raft.Transport: there is none, since a
// follower whose disk has stalled would wedge it for ever (hashicorp/raft#612).
func (r *Transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries implements raft.Transport, and notes when it left and what it
// brought if the peer answered in the same term.
func (r *Transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return r.send(args, func() error {
		var answer raft.AppendEntriesResponse // raft uses its own again
		sent := r.config.Clock.Now()
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
func (r *Transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	err := r.config.Rules.MaySend(args)
	if err == nil {
		err = r.sameLife(id, args, resp, func() error { return r.network.InstallSnapshot(id, target, args, resp, data) })
	}
	if err == nil && resp.Success && resp.Term == args.Term {
		r.acks.matched(id, resp.Term, args.LastLogIndex)
	}
	return err
}

// RequestVote implements raft.Transport.
func (r *Transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return r.send(args, func() error {
		return r.sameLife(id, args, resp, func() error { return r.network.RequestVote(id, target, args, resp) })
	})
}

// RequestPreVote implements raft.WithPreVote.
func (r *Transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return r.send(args, func() error {
		return r.sameLife(id, args, resp, func() error { return r.network.RequestPreVote(id, target, args, resp) })
	})
}

// TimeoutNow implements raft.Transport.
func (r *Transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return r.send(args, func() error {
		return r.sameLife(id, args, resp, func() error { return r.network.TimeoutNow(id, target, args, resp) })
	})
}

// send lets a request leave if this life may send it, and asks again when the
// pooled stream was dead already, as all are to a peer that has been restarted:
// without it the first votes after that are lost. Each of these requests means
// the same when it comes twice.
func (r *Transport) send(request any, call func() error) error {
	err := r.config.Rules.MaySend(request)
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
func (r *Transport) sameLife(id raft.ServerID, request, answer any, call func() error) error {
	before := r.config.Memory.Life(string(id))
	if err := call(); err != nil {
		return err
	}
	return r.config.Memory.HearAnswer(string(id), before, request, answer)
}

func deadStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, inbound.ErrEarlierLife) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// LastAck returns when the newest AppendEntries left (heartbeats too) that a peer
// has answered in the term of that request, and that term; the zero time when
// there is none. Times of one process compare by its monotonic clock.
func (r *Transport) LastAck(peer raft.ServerID) (sent time.Time, term uint64) {
	last := r.acks.last(peer)
	return last.sent, last.term
}

// MatchIndex returns the highest index of the log that a peer has said in a term
// to have of that term's leader; 0: it has said none.
func (r *Transport) MatchIndex(peer raft.ServerID, term uint64) uint64 {
	return r.acks.match(peer, term)
}

// AckChanged returns a channel that is closed when the next LastAck changes. Ask
// for it before looking, so that nothing falls in between.
func (r *Transport) AckChanged() <-chan struct{} { return r.acks.change() }

// hand gives raft a request of another agent, one at a time, until Drain.
func (r *Transport) hand(rpc raft.RPC) {
	r.handing.Lock()
	defer r.handing.Unlock()
	if r.isDrained() {
		rpc.Respond(nil, raft.ErrRaftShutdown)
		return
	}
	if r.answer(rpc) {
		return
	}
	r.config.Memory.HearRequest(rpc.Command)
	r.committed.heard(rpc.Command, r.config.Clock.Now())
	if answered := r.config.Rules.Handing(rpc.Command); answered != nil {
		r.passAndWait(rpc)
		answered()
		return
	}
	r.pass(rpc)
}

func (r *Transport) pass(rpc raft.RPC) {
	select {
	case r.consumer <- rpc:
	case <-r.drained:
		rpc.Respond(nil, raft.ErrRaftShutdown)
	}
}

func (r *Transport) passAndWait(rpc raft.RPC) {
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
func (r *Transport) answer(rpc raft.RPC) bool {
	response, err, answered := r.config.Rules.Answer(rpc.Command)
	if answered {
		r.respond(rpc, response, err)
	}
	return answered
}

func (r *Transport) respond(rpc raft.RPC, response any, err error) {
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
func (r *Transport) Drain() {
	r.drain.Do(func() { close(r.drained) })
	r.gate.close()
}

// Close implements raft.WithClose: it cuts all streams and waits for their
// goroutines, at most 5 s. It may be called any number of times.
func (r *Transport) Close() error {
	var err error
	r.close.Do(func() { err = r.closeOnce() })
	return err
}

func (r *Transport) closeOnce() error {
	r.drain.Do(func() { close(r.drained) })
	close(r.closed)
	err := r.network.Close()
	_ = r.stream.Close() // done by the former, unless the agent is alone
	if r.streams != nil {
		r.streams.CloseStreams() // empties the pool
	}
	if !r.stream.Wait(stopTimeout) || !inbound.WaitFor(&r.work, stopTimeout) {
		return fmt.Errorf("cannot close the raft transport: its streams are still in use %s after they were cut", stopTimeout)
	}
	return err
}

func (r *Transport) isDrained() bool {
	select {
	case <-r.drained:
		return true
	default:
		return false
	}
}

func (r *Transport) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}
