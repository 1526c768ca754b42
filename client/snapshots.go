package client

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/rand/v2"
	"time"

	"connectrpc.com/connect"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/gen/interrexv1"
	"github.com/interrex/interrex/internal/backoff"
	"github.com/interrex/interrex/internal/limits"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/internal/wire"
)

// silentSave is how long an agent that sends a snapshot may send nothing.
const silentSave = time.Minute

// Snapshots returns the copies of the cluster's state: see Calls.Snapshots.
func (c *Client) Snapshots() interrex.Snapshots { return Through(c).Snapshots() }

// Snapshots returns the copies of the cluster's state. A call asks one agent after the
// other, within Config.Timeout, until one begins to send.
func (c Calls) Snapshots() interrex.Snapshots { return snapshots(c) }

type snapshots struct{ by Caller }

func (s snapshots) Save(ctx context.Context, w io.Writer, o interrex.ReadOptions) (interrex.Snapshot, error) {
	c, err := clientOf(ctx, s.by)
	if err != nil {
		return interrex.Snapshot{}, err
	}
	return c.save(ctx, w, &interrexv1.SaveRequest{Consistency: wire.Consistency(o.Consistency), MinRevision: uint64(o.MinRevision)})
}

func (s snapshots) Restore(ctx context.Context, r io.Reader, sent func(bytes int64)) (interrex.Revision, error) {
	if file, again := r.(io.ReadSeeker); again {
		if err := verifySnapshot(file); err != nil {
			return 0, err
		}
	}
	u := &upload{by: s.by, file: 1 + rand.Uint64N(math.MaxUint64)}
	if err := u.stage(ctx, r, sent); err != nil {
		u.drop(ctx)
		return 0, err
	}
	m, err := Call[interrexv1.RestoreRequest, interrexv1.RestoreResponse](ctx, s.by, interrexv1.MaintenanceServiceRestoreProcedure,
		&interrexv1.RestoreRequest{File: u.file, Bytes: u.bytes, Checksum: u.checksum}, Options{})
	if err != nil && interrex.KindOf(err) != interrex.ErrOutcomeUnknown {
		u.drop(ctx)
	}
	return interrex.Revision(m.GetRevision()), err
}

// verifySnapshot reads a whole snapshot, and returns to where it began.
func verifySnapshot(r io.ReadSeeker) error {
	began, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // it is a pipe: the agents verify what they receive
	}
	file, err := snapfile.Open(r)
	if err == nil {
		err = file.Check()
	}
	if err != nil {
		return interrex.Errorf(interrex.ErrInvalid, "cannot restore the snapshot: %v", err).WithCause(err)
	}
	_, err = r.Seek(began, io.SeekStart)
	return err
}

// upload sends one snapshot.
type upload struct {
	by       Caller
	file     uint64 // its ID
	bytes    uint64
	checksum uint32
}

// partBytes is the size of a part: with more, what other callers write would wait longer
// for the entry that has it.
const partBytes = limits.MaxFilePart / 4

// stage sends all parts, one after the other: the agents read each of them at once. It
// pauses after each for three times as long as that took, so that most of the log is left
// to others.
func (u *upload) stage(ctx context.Context, r io.Reader, sent func(bytes int64)) error {
	part := make([]byte, partBytes)
	for {
		n, err := io.ReadFull(r, part)
		if n > 0 {
			began := time.Now()
			if _, err := Call[interrexv1.StageRequest, interrexv1.StageResponse](ctx, u.by, interrexv1.MaintenanceServiceStageProcedure,
				&interrexv1.StageRequest{File: u.file, Offset: u.bytes, Data: part[:n]}, Options{}); err != nil {
				return err
			}
			u.bytes += uint64(n)
			u.checksum = crc32.Update(u.checksum, castagnoli, part[:n])
			if sent != nil {
				sent(int64(u.bytes))
			}
			select {
			case <-time.After(3 * time.Since(began)):
			case <-ctx.Done():
				return interrex.Errorf(interrex.ErrTimeout, "the restore was stopped after %d bytes: nothing has changed", u.bytes).WithCause(context.Cause(ctx))
			}
		}
		switch {
		case err == io.EOF && u.bytes == 0:
			return interrex.Errorf(interrex.ErrInvalid, "cannot restore the snapshot: it is empty")
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("cannot read the snapshot: %w", err)
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// drop drops what was sent. If it cannot, the cluster does it after a time.
func (u *upload) drop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = Call[interrexv1.UnstageRequest, interrexv1.UnstageResponse](ctx, u.by, interrexv1.MaintenanceServiceUnstageProcedure, &interrexv1.UnstageRequest{File: u.file}, Options{})
}

// save asks one agent after the other until one begins to send.
func (c *Client) save(ctx context.Context, w io.Writer, q *interrexv1.SaveRequest) (interrex.Snapshot, error) {
	end := time.Now().Add(c.config.Timeout)
	var said error // the latest error from an agent
	for n := 0; ; n++ {
		p := c.endpoint()
		d := &download{endpoint: p, to: w, first: time.Until(end) / time.Duration(max(len(c.endpoints)-n, 1))}
		s, err := d.run(ctx, q)
		p.note(ctx, err)
		if kind := interrex.KindOf(err); err == nil || d.about != nil || final(err) && (!absent(kind) || n+1 >= len(c.endpoints)) {
			return s, err
		}
		if wire.Answered(err) {
			said = err
		}
		pause := max(backoff.Next(minPause, maxPause, n), interrex.RetryAfter(err))
		if c.leave(p) && (n+1)%len(c.endpoints) != 0 {
			pause = 0 // the next agent was not tried yet
		}
		if !c.sleep(ctx, end, pause) {
			return s, c.verdict(said, err)
		}
	}
}

// download receives one snapshot from one agent. It is the file that the agent sends,
// which it writes to another place as it is read.
type download struct {
	*endpoint
	to      io.Writer
	first   time.Duration // how long the agent may take to begin
	stream  *connect.ServerStreamForClient[interrexv1.SaveResponse]
	silence *time.Timer // ends the stream

	about *interrexv1.Snapshot // nil: the agent has not begun
	part  []byte               // not read yet
	lost  error                // of to
}

// run receives and verifies the whole file.
func (d *download) run(ctx context.Context, q *interrexv1.SaveRequest) (s interrex.Snapshot, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.silence = time.AfterFunc(d.first, func() {
		cancel(interrex.Errorf(interrex.ErrUnavailable, "%s has sent nothing for too long", d.address).WithCause(context.DeadlineExceeded))
	})
	defer d.silence.Stop()
	service := interrexv1.NewMaintenanceServiceClient(d.http, d.url, connect.WithAcceptCompression("gzip", nil, nil))
	d.stream, err = service.Save(ctx, connect.NewRequest(q))
	if err != nil {
		return s, d.explain(ctx, err)
	}
	file, err := snapfile.Open(d)
	if err == nil {
		err = file.Check()
	}
	switch {
	case err == nil:
		return d.complete(file.Snapshot()), nil
	case d.lost != nil:
		return s, d.lost
	case interrex.KindOf(err) != "":
		return s, d.explain(ctx, err)
	}
	return s, interrex.Errorf(interrex.ErrUnavailable, "the snapshot that %s has sent is not whole: %v: save it again", d.address, err)
}

// explain returns the error of a stream, or why it was ended here.
func (d *download) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); interrex.KindOf(cause) != "" {
		return cause
	}
	return wire.FromError(err, false)
}

// Read returns the next bytes of the file, which it has written. The error has a kind,
// or is that of the place that it writes to.
func (d *download) Read(p []byte) (int, error) {
	for len(d.part) == 0 {
		if err := d.receive(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.part)
	if _, d.lost = d.to.Write(p[:n]); d.lost != nil {
		return 0, d.lost
	}
	d.part = d.part[n:]
	return n, nil
}

// receive receives the next part.
func (d *download) receive() error {
	if d.about != nil {
		d.silence.Reset(silentSave)
	}
	more := d.stream.Receive()
	d.silence.Stop()
	if err := d.stream.Err(); err != nil {
		if answered := (*connect.Error)(nil); errors.As(err, &answered) {
			if stale := d.epochs.accept(answered.Meta()); stale != nil {
				return stale
			}
		}
		return wire.FromError(err, false)
	}
	if !more {
		return io.EOF
	}
	m := d.stream.Msg()
	if d.about == nil {
		if err := d.epochs.accept(d.stream.ResponseHeader()); err != nil {
			return err
		}
		if d.about = m.GetSnapshot(); d.about == nil {
			d.about = new(interrexv1.Snapshot)
		}
	}
	d.part = m.GetData()
	return nil
}

// complete adds what the agent has said of the snapshot beside the file.
func (d *download) complete(s interrex.Snapshot) interrex.Snapshot {
	var in wire.Reader
	s.AgentID, s.MadeAt, s.Consistency = d.about.GetAgentId(), d.about.GetMadeAt().AsTime(), in.Consistency(d.about.GetConsistency())
	return s
}
