package raftstream

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/inbound"
)

// incoming is the raft.StreamLayer of one stream that another agent has opened.
// Each has a raft.NetworkTransport of its own: a request names its sender, and only
// the stream over which it came proves it.
type incoming struct {
	held  *inbound.Held
	feed  chan net.Conn // of capacity 1
	done  chan struct{} // closed by Close
	ended chan struct{} // closed when the stream is no longer used
}

func newIncoming(held *inbound.Held) *incoming {
	return &incoming{held: held, feed: make(chan net.Conn, 1), done: make(chan struct{}), ended: make(chan struct{})}
}

// offer makes Accept return the stream.
func (i *incoming) offer() {
	end := sync.OnceFunc(func() { close(i.ended) })
	i.feed <- &endingConn{&idleConn{i.held}, end}
}

// Accept implements net.Listener, with one connection.
func (i *incoming) Accept() (net.Conn, error) {
	select {
	case c := <-i.feed:
		return c, nil
	case <-i.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. raft.NetworkTransport calls it once.
func (i *incoming) Close() error {
	close(i.done)
	select {
	case c := <-i.feed:
		return c.Close()
	default:
		return nil
	}
}

// Addr implements net.Listener.
func (i *incoming) Addr() net.Addr { return inbound.IDAddr(i.held.Peer) }

// Dial implements raft.StreamLayer.
func (i *incoming) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return nil, errors.New("cannot dial over an incoming stream")
}

// endingConn closes a channel when it is closed.
type endingConn struct {
	net.Conn
	end func()
}

// Close implements net.Conn.
func (c *endingConn) Close() error {
	defer c.end()
	return c.Conn.Close()
}

// accept serves the streams that other agents open.
func (r *Transport) accept() {
	for {
		conn, err := r.stream.Inlet.Accept()
		if err != nil {
			return
		}
		r.work.Go(func() { r.serve(newIncoming(conn.(*inbound.Held))) })
	}
}

// serve handles the requests of one stream, until it ends.
func (r *Transport) serve(in *incoming) {
	peer := in.held.Peer
	from := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: in, Timeout: r.config.Timeout, Logger: r.config.Logger,
	})
	defer from.Close()
	from.SetHeartbeatHandler(func(rpc raft.RPC) {
		if r.isOf(peer, rpc) {
			r.beat(rpc)
		}
	})
	in.offer()
	for {
		select {
		case rpc := <-from.Consumer():
			if r.isOf(peer, rpc) {
				r.hand(rpc)
			}
		case <-in.ended:
			return
		case <-r.closed:
			return
		}
	}
}

// beat passes a heartbeat to raft's handler, if raft has set one.
func (r *Transport) beat(rpc raft.RPC) {
	if handle := r.beats.Load(); handle != nil {
		(*handle)(rpc)
		return
	}
	r.hand(rpc)
}

// isOf reports whether a request is from the agent that opened its stream, and
// answers one that is not.
func (r *Transport) isOf(peer string, rpc raft.RPC) bool {
	says := rpc.Command.(raft.WithRPCHeader).GetRPCHeader()
	if string(says.ID) == peer && string(says.Addr) == peer {
		return true
	}
	err := fmt.Errorf("agent %s sends raft's requests in the name of agent %q at %q", peer, says.ID, says.Addr)
	r.config.Refused(peer, err)
	r.respond(rpc, nil, err)
	return false
}
