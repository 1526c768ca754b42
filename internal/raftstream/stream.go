package raftstream

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/inbound"
)

// streamIdle is how long an incoming raft stream may be silent. A leader's never are
// for longer than a heartbeat; streams in a peer's pool for the next election are
// closed, and the peer dials again.
const streamIdle = 2 * time.Minute

// stream is the raft.StreamLayer of one life of raft.
type stream struct {
	*inbound.Inlet
	dial func(ctx context.Context, id string) (net.Conn, error)

	mu   sync.Mutex
	shut bool
	out  map[*outConn]struct{}
}

func newStream(config Config) *stream {
	return &stream{Inlet: config.Incoming, dial: config.Dial, out: map[*outConn]struct{}{}}
}

// Dial implements raft.StreamLayer. The address is an agent's ID.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := s.dial(ctx, string(address))
	if err != nil {
		// Without its chain: an io.EOF of a dial does not mean that a pooled stream
		// was dead.
		return nil, errors.New(err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		_ = conn.Close()
		return nil, raft.ErrTransportShutdown
	}
	c := &outConn{Conn: conn, stream: s}
	s.out[c] = struct{}{}
	return c, nil
}

// Accept implements net.Listener. It accepts nothing: each incoming stream has a
// transport of its own.
func (s *stream) Accept() (net.Conn, error) {
	<-s.Done()
	return nil, net.ErrClosed
}

// Close closes every stream, incoming and outgoing.
func (s *stream) Close() error {
	s.mu.Lock()
	s.shut = true
	out := slices.Collect(maps.Keys(s.out))
	s.mu.Unlock()
	for _, c := range out {
		inbound.Cut(c.Conn)
	}
	return s.Inlet.Close()
}

// outConn is a stream that raft has dialled.
type outConn struct {
	net.Conn
	stream *stream
}

// Close implements net.Conn.
func (c *outConn) Close() error {
	c.stream.mu.Lock()
	delete(c.stream.out, c)
	c.stream.mu.Unlock()
	return c.Conn.Close()
}

// idleConn bounds the silence of an incoming stream, since raft sets deadlines
// only on those that it has dialled.
type idleConn struct{ net.Conn }

// Read implements net.Conn.
func (c *idleConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(streamIdle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn.
func (c *idleConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(inbound.UserTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
