package raftlog_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/interrex/interrex/internal/raftdir"
	"github.com/interrex/interrex/internal/raftlog"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a directory whose raft is in a term.
func open(t *testing.T, dir string, term uint64, cfg raftdir.Config) *raftdir.Directory {
	t.Helper()
	cfg.NoSync = true
	d, err := raftdir.Open(dir, cfg)
	must(t, err)
	must(t, d.Stable().SetUint64([]byte("CurrentTerm"), term))
	return d
}

func segmentsOf(t *testing.T, dir string) types.PersistentState {
	t.Helper()
	list, err := raftlog.ReadSegments(dir)
	must(t, err)
	return list
}

func entries(first, last uint64) (logs []*raft.Log) {
	for i := first; i <= last; i++ {
		logs = append(logs, &raft.Log{Index: i, Term: 1, Data: bytes.Repeat(fmt.Appendf(nil, "entry %d.", i), 5)})
	}
	return logs
}

// mustHold reads all entries of a log that begins with the first one.
func mustHold(t *testing.T, d *raftdir.Directory) {
	t.Helper()
	last, err := d.LastIndex()
	must(t, err)
	for i := uint64(1); i <= last; i++ {
		var log raft.Log
		if err := d.GetLog(i, &log); err != nil || log.Term != 1 || !bytes.Equal(log.Data, entries(i, i)[0].Data) {
			t.Fatalf("entry %d is %q of term %d: %v", i, log.Data, log.Term, err)
		}
	}
}

// change rewrites a file.
func change(t *testing.T, path string, do func(b []byte)) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	do(b)
	must(t, os.WriteFile(path, b, 0o600))
}

// frame is a frame of a segment's file: its kind and where it is.
type frame struct {
	kind    byte
	at, end int
}

// frames are those of a sound segment.
func frames(b []byte) (all []frame) {
	for at := 32; at < len(b) && b[at] != 0; {
		f := frame{b[at], at, at + 8}
		if f.kind != segment.FrameCommit {
			f.end += (int(binary.LittleEndian.Uint32(b[at+4:])) + 7) / 8 * 8
		}
		all, at = append(all, f), f.end
	}
	return all
}
