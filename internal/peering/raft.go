package peering

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/inbound"
	"github.com/interrex/interrex/internal/raftstream"
)

// RaftConfig is the configuration of the transport of one life of raft.Raft.
type RaftConfig struct {
	// Life is the rules of this life; nil: there are none.
	Life Life
	// Logger is for hashicorp/raft's messages about its streams. Optional.
	Logger hclog.Logger
}

// RaftTransport is the raft.Transport of one life of raft.Raft. Addresses are
// IDs. To end that life: Drain, then raft.Shutdown and its future, then close
// the stores; raft closes the transport itself when it has shut down.
type RaftTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
	// Drain returns when no request of another agent is being handled by raft's
	// handler of heartbeats, and none will reach raft any more. With a hung disk it
	// returns only when the disk does.
	Drain()
	// LastAck returns when the newest AppendEntries request (or heartbeat) that a
	// peer has answered in the request's term was sent, and that term; the zero time
	// when there is none.
	LastAck(peer raft.ServerID) (sent time.Time, term uint64)
	// AckChanged returns a channel that is closed at the next change of a LastAck.
	// Call it before LastAck, so that no change is missed.
	AckChanged() <-chan struct{}
	// MatchIndex returns the highest log index that a peer has acknowledged in a
	// term to that term's leader; 0: none.
	MatchIndex(peer raft.ServerID, term uint64) uint64
	// Committed returns the commit index in the appends of a term's leader, as of
	// about a second ago; 0: there was none.
	Committed(term uint64) uint64
}

// raftLife is raft's transport during one life of raft.
type raftLife struct {
	RaftTransport
	in    *inbound.Inlet
	rules Life
}

func (r *raftLife) over() bool { return r == nil || r.in.IsClosed() }

// Raft makes the transport for one life of raft.Raft. There is one at a time: Raft
// returns an error until the previous one has been closed.
func (t *Transport) Raft(config RaftConfig) (RaftTransport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return nil, errors.New("cannot make a raft transport: the transport is stopping")
	}
	if !t.raft.over() {
		return nil, errors.New("cannot make a raft transport: the previous one is not closed")
	}
	life := &raftLife{in: inbound.NewInlet(inbound.IDAddr(t.config.ID)), rules: config.Life}
	if life.rules == nil {
		life.rules = free{}
	}
	c := raftstream.Config{
		ID: t.config.ID, Incoming: life.in, Timeout: t.config.Timeout, Clock: t.config.Clock, Logger: config.Logger,
		Rules: life.rules, Memory: &t.memory,
		Met: func(id string) (string, bool) {
			said, met := t.book.latest(id)
			return said.Log.Life, met
		},
		MayAsk: func(id string) error {
			said, met := t.book.latest(id)
			if !met {
				return nil
			}
			return life.rules.MayAsk(said)
		},
		Refused: func(peer string, err error) { t.refusals.Note(peer, err, "refused a request") },
	}
	if t.config.TLS != nil {
		c.Dial = func(ctx context.Context, id string) (net.Conn, error) { return t.dial(ctx, id, protocolRaft) }
	}
	life.RaftTransport = raftstream.New(c)
	t.raft = life
	return life.RaftTransport, nil
}
