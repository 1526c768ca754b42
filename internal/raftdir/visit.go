package raftdir

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/interrex/interrex/internal/disk"
	"github.com/interrex/interrex/internal/raftlog"
)

// Visit reads what an agent would restore when it starts in a directory, without
// changing it: the newest intact snapshot, if there is one, and then each intact entry
// behind it, until one of the functions returns an error. The directory must not be in
// use, and passes Examine.
func Visit(dir string, snapshot func(io.Reader) error, entry func(*raft.Log) error) error {
	free, err := disk.Unused(dir)
	if err != nil {
		return err
	}
	return errors.Join(visit(dir, snapshot, entry), free())
}

func visit(dir string, snapshot func(io.Reader) error, entry func(*raft.Log) error) error {
	floor, _, err := examineFloor(dir)
	if err != nil {
		return err
	}
	newest, _, err := raftlog.ProvenSnapshots(filepath.Join(dir, snapshotsName))
	if err != nil {
		return err
	}
	if newest != nil {
		if err := read(filepath.Join(dir, snapshotsName, newest.ID, raftlog.StateName), snapshot); err != nil {
			return err
		}
	}
	c, err := raftlog.Inspect(dir, raftlog.PositionOf(newest), floor)
	if err != nil {
		return err
	}
	return c.Each(entry)
}

func read(path string, by func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read snapshot: %w", err)
	}
	return errors.Join(by(f), f.Close())
}
