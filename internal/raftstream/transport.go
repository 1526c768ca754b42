// Package raftstream owns the transport of one life of raft: raft's requests over
// streams between agents, the record of their answers, and the order in which the
// streams end.
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

// stopTimeout bounds the wait for users of streams that have been closed.
const stopTimeout = 5 * time.Second

// streamPool is how many idle streams raft keeps to each peer: one each for
// replication, heartbeats and votes.
const streamPool = 3

// Rules are the rules of one life of raft; none of their methods blocks.
type Rules interface {
	// MaySend returns why a request of raft's (a *raft.RequestVoteRequest, ...) must
	// not leave this agent; nil: it may.
	MaySend(request any) error
	// Answer answers a request of another agent in raft's place; false: raft is to
	// answer it.
	Answer(request any) (response any, err error, answered bool)
	// Handing is called before a request, other than a heartbeat, is passed to raft.
	// If it returns a function, that is called once raft has answered, and no other
	// request reaches raft before that.
	Handing(request any) (answered func())
}

// Memory is what is remembered of the other agents' logs.
type Memory interface {
	// Life returns the life of raft with which an agent was last met.
	Life(id string) string
	// HearRequest records a request of another agent.
	HearRequest(request any)
	// HearAnswer records an agent's answer to a request to a life of raft there; the
	// error is ErrEarlierLife when that life is over.
	HearAnswer(id, life string, request, answer any) error
}

// Config is the configuration of a Transport.
type Config struct {
	// ID is this agent's ID, which is also its address in raft.
	ID string
	// Dial opens a stream to another agent; nil: this agent has no peers, and its
	// transport is in memory.
	Dial func(ctx context.Context, id string) (net.Conn, error)
	// Incoming are the streams that other agents open. The transport closes it.
	Incoming *inbound.Inlet
	// Timeout bounds each read and write of a request.
	Timeout time.Duration
	Clock   clock.Clock
	// Logger is for hashicorp/raft's messages about its streams. Optional.
	Logger hclog.Logger
	Rules  Rules
	Memory Memory
	// Met returns the life of raft with which an agent was last met, also where raft is
	// not open to it, and whether it was met. Optional.
	Met func(id string) (life string, met bool)
	// MayAsk returns why an agent must not be asked for its vote; nil: it may. Optional.
	MayAsk func(id string) error
	// Refused is called with a request over another agent's stream than its sender's.
	Refused func(peer string, err error)
}

// network is what both kinds of underlying transport implement. It is embedded in
// place of raft.Transport, so that the optional interfaces remain.
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
	streams   *raft.NetworkTransport // that this agent dials; nil without peers
	stream    *stream
	config    Config
	gate      heartbeatGate
	acks      acks
	committed committed

	beats    atomic.Pointer[func(raft.RPC)] // raft's handler of heartbeats
	handing  sync.Mutex                     // held while one request of another agent is passed to raft
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

// connect makes the underlying transport: streams, or memory for an agent without
// peers.
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

// AppendEntriesPipeline implements raft.Transport. Pipelines are not supported: a
// follower whose disk has stalled would block one forever (hashicorp/raft#612).
func (r *Transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries implements raft.Transport, and records when the request was sent and
// up to where the peer's log matches, if the peer answered in the same term.
func (r *Transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return r.send(args, func() error {
		var answer raft.AppendEntriesResponse // raft reuses resp
		sent := r.config.Clock.Now()
		life, err := r.sameLife(id, args, &answer, func() error { return r.network.AppendEntries(id, target, args, &answer) })
		if err != nil {
			return err
		}
		*resp = answer
		if answer.Term == args.Term {
			r.acks.note(id, ack{life, sent, answer.Term})
			if answer.Success { // a heartbeat says nothing about the log
				r.acks.matched(id, match{life, answer.Term, args.PrevLogEntry + uint64(len(args.Entries))})
			}
		}
		return nil
	})
}

// InstallSnapshot implements raft.Transport, and records up to where the peer's log
// matches if it took the snapshot.
func (r *Transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	if err := r.config.Rules.MaySend(args); err != nil {
		return err
	}
	life, err := r.sameLife(id, args, resp, func() error { return r.network.InstallSnapshot(id, target, args, resp, data) })
	if err == nil && resp.Success && resp.Term == args.Term {
		r.acks.matched(id, match{life, resp.Term, args.LastLogIndex})
	}
	return err
}

// RequestVote implements raft.Transport.
func (r *Transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return r.send(args, func() error {
		return r.ask(id, args, resp, func() error { return r.network.RequestVote(id, target, args, resp) })
	})
}

// RequestPreVote implements raft.WithPreVote.
func (r *Transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return r.send(args, func() error {
		return r.ask(id, args, resp, func() error { return r.network.RequestPreVote(id, target, args, resp) })
	})
}

// TimeoutNow implements raft.Transport.
func (r *Transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return r.send(args, func() error {
		_, err := r.sameLife(id, args, resp, func() error { return r.network.TimeoutNow(id, target, args, resp) })
		return err
	})
}

// send sends a request if this life may, and retries when the pooled stream was
// already dead, as all streams to a restarted peer are: otherwise the first votes
// after the restart would be lost. Each of these requests is idempotent.
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

// ask asks an agent for its vote, if it may be asked: both before, and as it is known
// when it has answered.
func (r *Transport) ask(id raft.ServerID, request, answer any, call func() error) error {
	mayAsk := func() error {
		if r.config.MayAsk == nil {
			return nil
		}
		return r.config.MayAsk(string(id))
	}
	if err := mayAsk(); err != nil {
		return err
	}
	if _, err := r.sameLife(id, request, answer, call); err != nil {
		return err
	}
	return mayAsk()
}

// sameLife rejects an answer if the other agent has begun another life of raft
// since the request, and records the answer otherwise. It returns that life.
func (r *Transport) sameLife(id raft.ServerID, request, answer any, call func() error) (life string, err error) {
	life = r.config.Memory.Life(string(id))
	if err := call(); err != nil {
		return "", err
	}
	return life, r.config.Memory.HearAnswer(string(id), life, request, answer)
}

// over reports whether an agent has begun another life of raft than this one, also one
// to which raft here is not open.
func (r *Transport) over(id raft.ServerID, life string) bool {
	if r.config.Met == nil {
		return false
	}
	now, met := r.config.Met(string(id))
	return met && now != life
}

func deadStream(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, inbound.ErrEarlierLife) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// LastAck returns when the newest AppendEntries request (or heartbeat) that a peer
// has answered in the request's term was sent, and that term; the zero time when
// there is none in the life of raft with which the peer was last met. Times of one process compare by its monotonic clock.
func (r *Transport) LastAck(peer raft.ServerID) (sent time.Time, term uint64) {
	last := r.acks.last(peer)
	if r.over(peer, last.life) {
		return time.Time{}, 0
	}
	return last.sent, last.term
}

// MatchIndex returns the highest log index that a peer has acknowledged in a term to
// that term's leader; 0: none.
func (r *Transport) MatchIndex(peer raft.ServerID, term uint64) uint64 {
	if last := r.acks.match(peer); last.term == term && !r.over(peer, last.life) {
		return last.index
	}
	return 0
}

// AckChanged returns a channel that is closed at the next change of a LastAck. Call
// it before LastAck, so that no change is missed.
func (r *Transport) AckChanged() <-chan struct{} { return r.acks.change() }

// hand passes requests of other agents to raft, one at a time, until Drain.
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
	r.committed.note(rpc.Command, r.config.Clock.Now())
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

// answer answers a request in raft's place if this life's rules do.
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
	// On its own goroutine, so that other requests need not wait; the end of its
	// stream bounds it.
	r.work.Go(func() { drain(rpc, response, err) })
}

// drain reads a snapshot to its end, as its sender expects (hashicorp/raft#212), and
// responds.
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

// Drain closes the gate: when it returns, no heartbeat is in raft's handler, and no
// heartbeat or request reaches raft any more. raft.Shutdown's future waits for
// requests that raft's main loop has taken. Drain waits for the handler, with a hung
// disk until the disk responds: a caller that must not wait that long calls it on a
// goroutine.
func (r *Transport) Drain() {
	r.drain.Do(func() { close(r.drained) })
	r.gate.close()
}

// Close implements raft.WithClose: it closes all streams and waits for their
// goroutines, for at most 5 s. It may be called any number of times.
func (r *Transport) Close() error {
	var err error
	r.close.Do(func() { err = r.closeOnce() })
	return err
}

func (r *Transport) closeOnce() error {
	r.drain.Do(func() { close(r.drained) })
	close(r.closed)
	err := r.network.Close()
	_ = r.stream.Close() // done by the former, unless the agent has no peers
	if r.streams != nil {
		r.streams.CloseStreams() // empties the pool
	}
	if !r.stream.Wait(stopTimeout) || !inbound.WaitFor(&r.work, stopTimeout) {
		return fmt.Errorf("cannot close the raft transport: its streams are still in use %s after they were closed", stopTimeout)
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
