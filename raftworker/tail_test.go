package raftworker

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

const smallSegment = 4096

// sealedByTheDead makes a log whose process ended after the append that sealed
// its segment, and before the list of segments said so. It gives the segment's
// file and the index of the last entry.
func sealedByTheDead(t *testing.T, dir string) (file string, last uint64) {
	t.Helper()
	d, err := openDir(dir, SyncAfterWrite, LogStoreConfig{SegmentSize: smallSegment}, fs.New())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.StoreLogs(entries(1, 10)), d.Close()); err != nil {
		t.Fatal(err)
	}
	tail := lastSegment(t, dir)
	w, err := segment.NewFiler(dir, fs.New()).RecoverTail(tail)
	if err != nil {
		t.Fatal(err)
	}
	for sealed := false; !sealed; {
		if err := w.Append(encoded(t, w.LastIndex()+1, 3)); err != nil {
			t.Fatal(err)
		}
		if sealed, _, err = w.Sealed(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, segment.FileName(tail)), w.LastIndex()
}

func lastSegment(t *testing.T, dir string) types.SegmentInfo {
	t.Helper()
	var meta metadb.BoltMetaDB
	s, err := meta.Load(dir)
	if err := errors.Join(err, meta.Close()); err != nil {
		t.Fatal(err)
	}
	return s.Segments[len(s.Segments)-1]
}

func encoded(t *testing.T, first uint64, n int) []types.LogEntry {
	t.Helper()
	var all []types.LogEntry
	for _, log := range entries(int(first), n) {
		var b bytes.Buffer
		if err := (&wal.BinaryCodec{}).Encode(log, &b); err != nil {
			t.Fatal(err)
		}
		all = append(all, types.LogEntry{Index: log.Index, Data: b.Bytes()})
	}
	return all
}

// goesOn opens the log twice, appends each time, and reads all of it.
func goesOn(t *testing.T, dir string, last uint64) {
	t.Helper()
	for range 2 {
		s, err := NewLogStore(dir, SyncAfterWrite, LogStoreConfig{SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.LastIndex(); err != nil || got != last {
			t.Fatalf("the log ends at %d, want %d: %v", got, last, err)
		}
		for range 100 {
			if err := s.StoreLogs(entries(int(last)+1, 3)); err != nil {
				t.Fatalf("after %d: %v", last, err)
			}
			last += 3
		}
		for i := uint64(1); i <= last; i++ {
			var log raft.Log
			if err := s.GetLog(i, &log); err != nil || string(log.Data) != fmt.Sprintf("entry %d", i) {
				t.Fatalf("entry %d is %q: %v", i, log.Data, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestALogThatWasSealedAsItsProcessEndedGoesOn(t *testing.T) {
	dir := t.TempDir()
	_, last := sealedByTheDead(t, dir)
	goesOn(t, dir, last)
}

func TestALogWhoseSealIsTornGoesOnAfterTheEntriesBeforeIt(t *testing.T) {
	for name, tear := range map[string]func(f []byte, entry int) []byte{
		"an entry is missing": func(f []byte, entry int) []byte { clear(f[entry : entry+4]); return f },
		"the index is half there": func(f []byte, entry int) []byte {
			clear(f[len(f)-64:])
			return f
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file, last := sealedByTheDead(t, dir)
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			entry := bytes.LastIndex(whole, fmt.Appendf(nil, "entry %d", last))
			if err := os.WriteFile(file, tear(whole, entry), 0o600); err != nil {
				t.Fatal(err)
			}
			goesOn(t, dir, last-3)
		})
	}
}

func TestALogThatCannotBeMendedYetIsMendedLater(t *testing.T) {
	dir := t.TempDir()
	_, last := sealedByTheDead(t, dir)
	if _, err := openDir(dir, SyncAfterWrite, LogStoreConfig{}, unreadable{fs.New()}); !errors.Is(err, os.ErrPermission) {
		t.Fatalf("got %v, want the reason", err)
	}
	goesOn(t, dir, last)
}

// unreadable is a disk whose files cannot be opened to be read.
type unreadable struct{ types.VFS }

func (unreadable) OpenReader(string, string) (types.ReadableFile, error) {
	return nil, os.ErrPermission
}
