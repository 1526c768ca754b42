package copies

import (
	"bytes"
	"context"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/admission"
	"github.com/interrex/interrex/internal/snapfile"
)

// partBytes is how much of the file a message has, but for the last, and partCost the
// memory that it takes while it is sent.
const (
	partBytes = 128 << 10
	partCost  = 4 * partBytes
)

// parts sends a snapshot that is written to it.
type parts struct {
	ctx    context.Context
	bound  func(send func() error) error // see admission.Sender
	send   func(*interrexv1.SaveResponse) error
	about  *interrexv1.Snapshot // to be sent; nil: it was sent
	buffer []byte
	err    error // why it could not send
}

var _ raft.SnapshotSink = (*parts)(nil)

func newParts(ctx context.Context, bound func(func() error) error, send func(*interrexv1.SaveResponse) error) *parts {
	return &parts{ctx: ctx, bound: bound, send: send}
}

// reserve takes the memory of the parts, which the request gives back at its end.
func (p *parts) reserve() error {
	if err := admission.AccountOf(p.ctx).Take(partCost, admission.Large); err != nil {
		return err
	}
	p.buffer = make([]byte, 0, partBytes)
	return nil
}

// ID implements raft.SnapshotSink.
func (p *parts) ID() string { return "for a caller" }

// Write sends what fills a message.
func (p *parts) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && p.err == nil {
		k := min(len(b), partBytes-len(p.buffer))
		p.buffer = append(p.buffer, b[:k]...)
		b = b[k:]
		if len(p.buffer) == partBytes {
			p.flush()
		}
	}
	return n - len(b), p.err
}

// Close sends what is left.
func (p *parts) Close() error {
	if len(p.buffer) > 0 {
		p.flush()
	}
	return p.err
}

// Cancel implements raft.SnapshotSink: the stream ends with an error.
func (p *parts) Cancel() error { return nil }

// flush sends a message; what the snapshot shows is in its own beginning.
func (p *parts) flush() {
	if p.ctx.Err() != nil {
		p.err = context.Cause(p.ctx)
	}
	if p.err == nil && p.about != nil {
		p.err = describe(p.about, p.buffer)
	}
	if p.err == nil {
		p.err = p.bound(func() error { return p.send(&interrexv1.SaveResponse{Snapshot: p.about, Data: p.buffer}) })
	}
	p.about, p.buffer = nil, p.buffer[:0]
}

// describe completes what is said of a snapshot from the beginning of its file.
func describe(m *interrexv1.Snapshot, file []byte) error {
	in, err := snapfile.Open(bytes.NewReader(file))
	if err != nil {
		return err
	}
	h := in.Header
	m.ClusterId, m.Epoch, m.LogIndex, m.Term, m.Revision = h.ClusterID, h.Epoch.Number, h.Index, h.Term, uint64(h.Revision)
	m.ClusterTime = durationpb.New(time.Duration(h.Time))
	return nil
}
