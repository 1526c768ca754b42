package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex"
	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/machine"
	"github.com/interrex/interrex/internal/snapfile"
	"github.com/interrex/interrex/state"
)

// file is a copy that is being written, or read back: it ends with ctx.
type file struct {
	*os.File
	ctx     context.Context
	pace    *snapfile.Pace // of the reads
	written int64
}

var _ raft.SnapshotSink = (*file)(nil)

// create makes a file that only its owner can read. What a copy that was cut off has
// left under that name is removed.
func create(ctx context.Context, path string) (*file, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &file{File: f, ctx: ctx}, nil
}

// ID implements raft.SnapshotSink.
func (f *file) ID() string { return f.Name() }

// Write implements io.Writer.
func (f *file) Write(b []byte) (int, error) {
	if err := context.Cause(f.ctx); err != nil {
		return 0, err
	}
	n, err := f.File.Write(b)
	f.written += int64(n)
	return n, err
}

// Read implements io.Reader.
func (f *file) Read(b []byte) (int, error) {
	if err := context.Cause(f.ctx); err != nil {
		return 0, err
	}
	f.pace.Rest()
	return f.File.Read(b)
}

// Close returns once the content is on disk.
func (f *file) Close() error { return errors.Join(f.Sync(), f.File.Close()) }

// Cancel implements raft.SnapshotSink.
func (f *file) Cancel() error { return f.File.Close() }

// write writes a frozen state to a new file, and returns its size.
func write(ctx context.Context, path string, frozen raft.FSMSnapshot) (int64, error) {
	f, err := create(ctx, path)
	if err != nil {
		return 0, err
	}
	err = frozen.Persist(f)
	return f.written, err
}

// verify reads a file back as an agent would read it, and returns what it shows.
func verify(ctx context.Context, path string, bytes int64, fresh func() []state.Table) (interrex.Snapshot, error) {
	opened, err := os.Open(path)
	if err != nil {
		return interrex.Snapshot{}, err
	}
	defer opened.Close()
	f := &file{File: opened, ctx: ctx, pace: snapfile.NewPace()}
	got, err := machine.Inspect(f, fresh, func(string, uint16, int64, state.Table) {})
	if err == nil && got.Bytes != bytes {
		err = fmt.Errorf("it has %d bytes, and %d were written", got.Bytes, bytes)
	}
	if err != nil {
		return got, fmt.Errorf("the copy cannot be read back: %w", err)
	}
	return got, nil
}

// publish gives a verified file its name.
func publish(staged, path string) error {
	if err := os.Rename(staged, path); err != nil {
		return err
	}
	return disk.OS{}.Sync(filepath.Dir(path))
}
